"""Nearest neighbours sorted by distance, so that fewer neighbours are the first columns of more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from saescape._random import child_seed

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

# more cells than this are indexed approximately
MAX_EXACT = 50_000
# sparse rows that are smaller than this as float32 are searched as dense ones, which is faster
_DENSE_BYTES = 2**29
_BLOCK_ENTRIES = 2**22


def nearest(x: FloatArray | sparse.csr_matrix, k: int, rng: np.random.Generator) -> IntArray:
    """Indices `(n, k)` of the `k` nearest other rows in Euclidean distance, nearest first.

    A row is left out of its own neighbours by its index, so that equal rows are neighbours of each other.

    Parameters
    ----------
    x
        Rows, dense or CSR.
    k
        Neighbours, less than the number of rows.
    rng
        Used by the approximate index of more than 50,000 rows only.
    """
    own = np.arange(x.shape[0])
    if x.shape[0] > MAX_EXACT:
        return _without_own(_approximate(x, k + 1, rng), own)
    x = _densified(x)
    if sparse.issparse(x):
        return _without_own(_by_blocks(x, x, k + 1), own)
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x)
    # without rows to search for, scikit-learn leaves each row out of its own neighbours by its index
    return index.kneighbors(return_distance=False).astype(np.int32)


def nearest_elsewhere(
    x: FloatArray | sparse.csr_matrix, fold_of: IntArray, k: int, rng: np.random.Generator
) -> IntArray:
    """Indices `(n, k)` of the nearest rows that belong to another fold, nearest first.

    Of more than 50,000 rows outside a fold, as many are searched that are drawn at random.
    """
    if x.shape[0] <= MAX_EXACT:
        x = _densified(x)
    result = np.empty((x.shape[0], k), dtype=np.int32)
    for fold in np.unique(fold_of):
        inside, outside = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        if len(outside) > MAX_EXACT:
            outside = np.sort(rng.choice(outside, MAX_EXACT, replace=False))
        queries, points = x[inside], x[outside]
        if sparse.issparse(x):
            found = _by_blocks(queries, points, k)
        else:
            from sklearn.neighbors import NearestNeighbors

            index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points)
            found = index.kneighbors(queries, return_distance=False)
        result[inside] = outside[found]
    return result


def _densified(x: FloatArray | sparse.csr_matrix) -> FloatArray | sparse.csr_matrix:
    if isinstance(x, np.ndarray) or 4 * x.shape[0] * x.shape[1] > _DENSE_BYTES:
        return x
    return x.toarray().astype(np.float32, copy=False)


def _by_blocks(queries: sparse.csr_matrix, points: sparse.csr_matrix, k: int) -> IntArray:
    """Exact search among sparse rows."""
    points = points.astype(np.float64)
    norms = np.asarray(points.multiply(points).sum(1)).ravel()
    transposed = points.T.tocsr()
    result = np.empty((queries.shape[0], k), dtype=np.int32)
    size = max(1, _BLOCK_ENTRIES // points.shape[0])
    for start in range(0, queries.shape[0], size):
        squared = norms - 2.0 * (queries[start : start + size].astype(np.float64) @ transposed).toarray()
        chosen = np.argpartition(squared, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(squared, chosen, 1), axis=1, kind="stable")
        result[start : start + size] = np.take_along_axis(chosen, order, 1)
    return result


def _approximate(x: FloatArray | sparse.csr_matrix, k: int, rng: np.random.Generator) -> IntArray:
    """Neighbours `(n, k)` by nearest-neighbour descent, usually with each row itself among them."""
    from pynndescent import NNDescent

    # a generator of its own: global random states are left alone
    seed = np.random.RandomState(child_seed(rng) % 2**32)
    index = NNDescent(x, metric="euclidean", n_neighbors=max(k, 30), random_state=seed)
    return index.neighbor_graph[0][:, :k].astype(np.int32)


def _without_own(found: IntArray, own: IntArray) -> IntArray:
    """Drop each row's own index, or its last neighbour where the row itself was not found."""
    keep = found != own[:, None]
    keep[keep.all(1), -1] = False
    return found[keep].reshape(len(found), -1)
