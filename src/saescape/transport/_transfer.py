"""Values of the reference carried over by a coupling: means and labels under each cell's conditional."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from saescape._rows import RowSource
    from saescape._typing import FloatArray, IntArray

# bytes of the result that are updated at once
_CHUNK_BYTES = 32 * 2**20


def conditional(plan: sparse.csr_matrix) -> sparse.csr_matrix:
    """Rows of a plan divided by their sums: the distribution of each cell over the reference; empty rows stay empty."""
    mass = np.asarray(plan.sum(1)).ravel()
    scale = np.divide(1.0, mass, out=np.zeros_like(mass), where=mass > 0)
    return sparse.csr_matrix(sparse.diags(scale) @ plan)


@dataclass(frozen=True)
class Labels:
    """Label with the largest mass (-1 without labelled mass), its share of the labelled mass, and that mass, `(n,)`."""

    codes: IntArray
    prob: FloatArray
    mass: FloatArray


def transfer_labels(weights: sparse.csr_matrix, codes: IntArray, n_categories: int) -> Labels:
    """Carry labels over.

    Parameters
    ----------
    weights
        Conditional `(n, n_ref)`.
    codes
        Label of each reference cell in ``[0, n_categories)``; -1 for none: its mass is left out.
    n_categories
        Number of labels; ties go to the first.
    """
    known = np.flatnonzero(codes >= 0)
    one_hot = sparse.csr_matrix((np.ones(len(known)), (known, codes[known])), (len(codes), n_categories))
    # sparse, for there may be very many labels
    shares = sparse.csr_matrix(weights @ one_hot)
    mass = np.asarray(shares.sum(1)).ravel()
    highest = shares.max(axis=1).toarray().ravel()
    winner = np.asarray(shares.argmax(axis=1)).ravel()
    prob = np.divide(highest, mass, out=np.full_like(mass, np.nan), where=mass > 0)
    return Labels(np.where(mass > 0, winner, -1), prob, mass)


@dataclass(frozen=True)
class Moments:
    """Mean and SD under each cell's conditional (NaN without observed mass), and the mass they rest on, `(n,)`."""

    mean: FloatArray
    sd: FloatArray
    mass: FloatArray


def transfer_numbers(weights: sparse.csr_matrix, values: FloatArray) -> Moments:
    """Carry a number over; the mass of reference cells with NaN is left out.

    Parameters
    ----------
    weights
        Conditional `(n, n_ref)`.
    values
        One number per reference cell, float64.
    """
    observed = ~np.isnan(values)
    mass = np.asarray(weights @ observed.astype(np.float64)).ravel()
    empty = np.full_like(mass, np.nan)
    # far from zero, squares would lose the digits that differ
    known = values[observed] if observed.any() else np.zeros(1)
    center = float(known.mean())
    centered = np.where(observed, values - center, 0.0)
    mean = np.divide(weights @ centered, mass, out=empty.copy(), where=mass > 0)
    row = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    squares = weights.data * (centered[weights.indices] - mean[row]) ** 2
    total = np.bincount(row, np.where(observed[weights.indices], squares, 0.0), minlength=len(mass))
    variance = np.divide(total, mass, out=empty, where=mass > 0)
    # a share of booleans, or a mean of counts, is not negative by rounding
    return Moments(np.clip(mean + center, known.min(), known.max()), np.sqrt(variance), mass)


def barycentric(weights: sparse.csr_matrix, values: RowSource) -> FloatArray:
    """Each cell's expected row of the reference, float32 `(n, n_dims)`; NaN for cells without mass.

    The reference is read once, in blocks of rows, and only a block of it is ever dense.

    Parameters
    ----------
    weights
        Conditional `(n, n_ref)`.
    values
        Rows of the reference `(n_ref, n_dims)`.
    """
    n, d = weights.shape[0], values.n_dims
    out = np.zeros((n, d), np.float32)
    size = max(1, _CHUNK_BYTES // (4 * d))
    weights = weights.astype(np.float32)
    one_block = values.block_size() >= values.n_obs
    columns = None if one_block else weights.tocsc()
    for start, block in values.blocks():
        part = weights if columns is None else columns[:, start : start + len(block)].tocsr()
        coupled = np.flatnonzero(np.diff(part.indptr))
        for low in range(0, len(coupled), size):
            cells = coupled[low : low + size]
            out[cells] += part[cells] @ block
    out[np.diff(weights.indptr) == 0] = np.nan
    return out
