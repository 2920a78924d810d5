"""Whether the cells in which a feature is active resemble each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray


def unit_interval(codes: sparse.csr_matrix) -> sparse.csr_matrix:
    """Codes `(n, m)` with each feature scaled to [0, 1] by its smallest and largest value; 0 where it is constant."""
    codes = sparse.csr_matrix(codes, dtype=np.float64)
    low, high = (np.asarray(values.todense()).ravel() for values in (codes.min(0), codes.max(0)))
    span = high - low
    inverse = np.divide(1, span, out=np.zeros_like(span), where=span > 0)
    # only a feature that is active everywhere has another minimum than 0, and then every entry is stored
    scaled = (codes.data - low[codes.indices]) * inverse[codes.indices]
    return sparse.csr_matrix((scaled, codes.indices, codes.indptr), codes.shape)


def weighted_similarity(weights: sparse.csr_matrix, unit: FloatArray) -> FloatArray:
    r"""Mean cosine of pairs of cells, weighted by the product of their weights, for each column.

    With unit vectors `e_i` the sum over pairs has a closed form,
    :math:`(\|\sum a_i e_i\|^2 - \sum a_i^2) / ((\sum a_i)^2 - \sum a_i^2)`, so that all columns cost one
    sparse product.

    Parameters
    ----------
    weights
        `(n, m)`, non-negative.
    unit
        Vectors of length 1 `(n, d)`.

    Returns
    -------
    `(m,)`; NaN for columns with fewer than two positive weights.
    """
    together = np.asarray(weights.T @ unit)
    total = np.asarray(weights.sum(0)).ravel()
    own = np.asarray(weights.multiply(weights).sum(0)).ravel()
    pairs = total**2 - own
    positive = np.bincount(weights.indices[weights.data > 0], minlength=weights.shape[1])
    known = (positive > 1) & (pairs > 0)
    value = np.einsum("ij,ij->i", together, together) - own
    return np.divide(value, pairs, out=np.full(len(pairs), np.nan), where=known)


def label_shares(weights: sparse.csr_matrix, label_of: IntArray, n_labels: int) -> FloatArray:
    """Share `(m, n_labels)` of each column's weight on the cells of each label; NaN for columns without weight."""
    n = len(label_of)
    member = sparse.csr_matrix((np.ones(n), (np.arange(n), label_of)), shape=(n, n_labels))
    sums = (weights.T @ member).toarray()
    total = sums.sum(1, keepdims=True)
    return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)


def entropy(shares: FloatArray) -> FloatArray:
    """Entropy in nats of each row of shares."""
    return -np.sum(shares * np.log(np.where(shares > 0, shares, 1)), axis=1) + 0.0


def within_label_similarity(label_of: IntArray, unit: FloatArray, n_labels: int) -> FloatArray:
    """Mean cosine of pairs of cells with the same label, for each label."""
    n = len(label_of)
    member = sparse.csr_matrix((np.ones(n), (np.arange(n), label_of)), shape=(n, n_labels))
    return weighted_similarity(member, unit)
