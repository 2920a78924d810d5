"""Linear discriminant analysis on held-out rows, for many relabellings at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ._agreement import balanced_accuracy

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

    from ._linear import TrainFold
    from ._permutations import Permutations

_BLOCK_VALUES = 2**19


def probe_accuracy(
    x: FloatArray, codes: IntArray, n_labels: int, folds: list[TrainFold], permutations: Permutations
) -> FloatArray:
    r"""Balanced accuracy `(1 + n_perms,)` of linear discriminant analysis with equal priors on held-out rows.

    Columns are standardised on the rows to train on, and the covariance within labels is
    :math:`S_w + \lambda I` with :math:`\lambda = d / n`, the scale of its sampling noise. Since
    :math:`S_w + \lambda I = (S_t + \lambda I) - \sum_c \frac{n_c}{n} m_c m_c^\top`, the part that does not depend on
    the labels is inverted once, and a relabelling costs the means of its labels only.
    """
    predicted = np.empty((len(x), permutations.n_columns), dtype=np.int32)
    size = max(1, _BLOCK_VALUES // len(x))
    for fold in folds:
        n, d = len(fold.train), x.shape[1]
        # columns of unit size under the total covariance with its ridge; directions without variance stay zero
        scaled = fold.axes / np.sqrt(fold.energy / n + d / n)
        train, test = (x[fold.train] - fold.mean) @ scaled, (x[fold.test] - fold.mean) @ scaled
        for low in range(0, permutations.n_columns, size):
            high = min(low + size, permutations.n_columns)
            block = codes[permutations.rows(low, high)]
            means, counts = _means(train, block[fold.train], n_labels)
            predicted[fold.test, low:high] = discriminants(test, means, counts / n).argmax(2).T
    result = np.empty(permutations.n_columns)
    for low in range(0, permutations.n_columns, size):
        high = min(low + size, permutations.n_columns)
        block = codes[permutations.rows(low, high)]
        result[low:high] = balanced_accuracy(predicted[:, low:high], block, n_labels)
    return result


def _means(train: FloatArray, block: IntArray, n_labels: int) -> tuple[FloatArray, IntArray]:
    """Means `(b, n_labels, d)` and sizes `(b, n_labels)` of the labels in each column of `block`."""
    n, width = block.shape
    rows = (block + n_labels * np.arange(width)).ravel()
    members = sparse.csr_matrix((np.ones(n * width), rows, np.arange(0, n * width + 1, width)), (n, n_labels * width))
    sums = (members.T @ train).reshape(width, n_labels, -1)
    counts = np.bincount(rows, minlength=n_labels * width).reshape(width, n_labels)
    return sums / np.maximum(counts, 1)[..., None], counts


def discriminants(test: FloatArray, means: FloatArray, shares: FloatArray) -> FloatArray:
    r"""Discriminant scores `(b, n_test, n_labels)` with equal priors, in coordinates whose total covariance is `I`.

    :math:`(I - B B^\top)^{-1} = I + B (I - B^\top B)^{-1} B^\top` with the columns :math:`\sqrt{n_c / n}\, m_c` of `B`.

    Parameters
    ----------
    test
        Rows `(n_test, d)`.
    means
        Means of the labels in each relabelling `(b, n_labels, d)`.
    shares
        Share of the rows that have each label `(b, n_labels)`.
    """
    n_labels = means.shape[1]
    gram = means @ means.transpose(0, 2, 1)
    root = np.sqrt(shares)
    inner = np.linalg.inv(np.eye(n_labels) - root[:, :, None] * gram * root[:, None])
    mixing = np.eye(n_labels) + gram @ (root[:, :, None] * inner * root[:, None])
    products = (test @ means.reshape(-1, means.shape[2]).T).reshape(len(test), *shares.shape).transpose(1, 0, 2)
    scores = products @ mixing.transpose(0, 2, 1) - 0.5 * np.sum(mixing * gram, axis=2)[:, None]
    return np.where(shares[:, None] > 0, scores, -np.inf)
