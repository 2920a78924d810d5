"""Principal components of dense or sparse rows, without a dense copy of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from saescape._random import child_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import FloatArray

# dimensions up to which the covariance matrix is decomposed
_MAX_COVARIANCE = 2048
_BLOCK_VALUES = 2**21
# components below this share of the largest variance are noise of rounding, which whitening would blow up
_MIN_VARIANCE = 1e-6


def principal_components(
    x: FloatArray | sparse.csr_matrix, n_components: int, rng: np.random.Generator, *, whiten: bool = False
) -> FloatArray:
    """Scores `(n, <= n_components)` float32 on the first principal components, in float64 sums.

    Parameters
    ----------
    x
        Rows, dense or CSR.
    n_components
        Components wanted; fewer come back when the rank is lower.
    rng
        Starts the iteration that is used above 2,048 dimensions.
    whiten
        Divide scores by their standard deviation; components without variance are dropped.
    """
    n, d = x.shape
    n_components = min(n_components, n, d)
    if d > _MAX_COVARIANCE:
        from sklearn.decomposition import PCA

        seed = child_seed(rng) % 2**32
        if sparse.issparse(x):
            solver = PCA(min(n_components, n - 1), svd_solver="arpack", random_state=seed, whiten=whiten)
            return solver.fit_transform(x.astype(np.float64)).astype(np.float32)
        solver = PCA(n_components, svd_solver="randomized", random_state=seed, whiten=whiten)
        return solver.fit_transform(x - x.mean(0)).astype(np.float32)
    mean = np.asarray(x.mean(0, dtype=np.float64)).ravel()
    scatter = np.zeros((d, d))
    for _, block in _centred(x, mean):
        scatter += block.T @ block
    variance, axes = np.linalg.eigh(scatter / n)
    variance, axes = variance[::-1][:n_components], axes[:, ::-1][:, :n_components]
    if whiten:
        kept = variance > _MIN_VARIANCE * variance[0]
        axes = axes[:, kept] / np.sqrt(variance[kept])
    scores = np.empty((n, axes.shape[1]), dtype=np.float32)
    for start, block in _centred(x, mean):
        scores[start : start + len(block)] = block @ axes
    return scores


def _centred(x: FloatArray | sparse.csr_matrix, mean: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    size = max(1, _BLOCK_VALUES // x.shape[1])
    for start in range(0, x.shape[0], size):
        block = x[start : start + size]
        yield start, (block if isinstance(block, np.ndarray) else block.toarray()).astype(np.float64) - mean
