"""Exact nearest neighbours by blocks, for a sample of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray, IntArray

_BLOCK_ENTRIES = 2**22


def nearest_neighbors(x: FloatArray | sparse.csr_matrix, k: int) -> IntArray:
    """Indices `(n, k)` of the `k` nearest other rows in Euclidean distance, in no particular order."""
    n = x.shape[0]
    if isinstance(x, np.ndarray):
        # distances do not change, and large common offsets would cost digits
        x = x - x.mean(0, dtype=np.float64)
        norms = np.einsum("ij,ij->i", x, x)
    else:
        x = x.astype(np.float64)
        norms = np.asarray(x.multiply(x).sum(1)).ravel()
    result = np.empty((n, k), dtype=np.int64)
    size = max(1, _BLOCK_ENTRIES // n)
    for start in range(0, n, size):
        product = x[start : start + size] @ x.T
        squared = norms - 2.0 * (product if isinstance(product, np.ndarray) else product.toarray())
        own = np.arange(len(squared))
        squared[own, start + own] = np.inf
        result[start : start + size] = np.argpartition(squared, k - 1, axis=1)[:, :k]
    return result


def neighbor_overlap(first: IntArray, second: IntArray) -> float:
    """Mean share of the neighbours of a row in one space that are its neighbours in the other."""
    n, k = first.shape
    rows = np.repeat(np.arange(n), k)
    width = max(int(first.max()), int(second.max()), n) + 1
    keys = rows * width + first.ravel()
    return float(np.isin(keys, rows * width + second.ravel()).mean())
