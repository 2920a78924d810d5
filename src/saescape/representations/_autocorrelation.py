"""How alike a number is among neighbours: Moran's I, Geary's C, local standard deviation, prediction by neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from saescape._typing import FloatArray, IntArray

    from ._permutations import Permutations

# numbers of a block of permuted phenotypes: about what a cache holds
_BLOCK_VALUES = 2**19


def shells(neighbors: IntArray, ks: Sequence[int]) -> list[sparse.csr_matrix]:
    """Binary weights of neighbours ``1..k_1``, ``k_1+1..k_2``, ...: their sums are the weights for each `k`."""
    n, width = neighbors.shape
    result = []
    for low, high in zip((0, *ks[:-1]), ks, strict=True):
        step = high - low
        indptr = np.arange(0, n * step + 1, step)
        columns = neighbors[:, low:high].ravel()
        size = max(n, int(neighbors[:, :width].max()) + 1)
        result.append(sparse.csr_matrix((np.ones(n * step), columns, indptr), shape=(n, size)))
    return result


def permuted_blocks(values: FloatArray, permutations: Permutations) -> Iterator[tuple[slice, FloatArray]]:
    """Standardised `values` `(n, b)` in the observed order and in every permutation, some columns at a time."""
    size = max(1, _BLOCK_VALUES // len(values))
    for low in range(0, permutations.n_columns, size):
        part = slice(low, min(low + size, permutations.n_columns))
        block = values[permutations.rows(part.start, part.stop)]
        block = np.ascontiguousarray(block - block.mean(0))
        yield part, block / np.sqrt(np.mean(block**2, axis=0))


def autocorrelation(
    neighbors: IntArray, values: FloatArray, ks: Sequence[int], permutations: Permutations
) -> dict[str, FloatArray]:
    r"""Statistics `(n_ks, 1 + n_perms)` of a number on the graphs of the ``k`` nearest neighbours.

    With `z` the standardised values, weights 1 for the `k` neighbours :math:`N_k(i)` of each row and 0 otherwise:

    - `morans_i`: :math:`\frac{1}{nk} \sum_i z_i \sum_{j \in N_k(i)} z_j`,
    - `gearys_c`: :math:`\frac{n - 1}{2 n^2 k} \sum_i \sum_{j \in N_k(i)} (z_i - z_j)^2`,
    - `local_sd_ratio`: mean over rows of the standard deviation (ddof 0) of :math:`z_j, j \in N_k(i)`,
    - `knn_r2`: :math:`1 - \frac1n \sum_i (z_i - \bar z_{N_k(i)})^2`.
    """
    n = len(values)
    names = ("morans_i", "gearys_c", "local_sd_ratio", "knn_r2")
    result: dict[str, FloatArray] = {name: np.empty((len(ks), permutations.n_columns)) for name in names}
    parts = shells(neighbors, ks)
    for part, z in permuted_blocks(values, permutations):
        sums, squares, z2 = np.zeros_like(z), np.zeros_like(z), z**2
        for i, (shell, k) in enumerate(zip(parts, ks, strict=True)):
            sums += shell @ z
            squares += shell @ z2
            cross = np.einsum("ij,ij->j", z, sums)
            result["morans_i"][i, part] = cross / (n * k)
            result["gearys_c"][i, part] = (n - 1) * (k * n - 2 * cross + squares.sum(0)) / (2 * n * n * k)
            local = sums / k
            result["local_sd_ratio"][i, part] = np.sqrt(np.maximum(squares / k - local**2, 0)).mean(0)
            local -= z
            result["knn_r2"][i, part] = 1 - np.einsum("ij,ij->j", local, local) / n
    return result


def knn_r2(neighbors: IntArray, values: FloatArray, ks: Sequence[int], permutations: Permutations) -> FloatArray:
    """Share of the variance `(n_ks, 1 + n_perms)` that the mean of the given neighbours predicts."""
    result = np.empty((len(ks), permutations.n_columns))
    parts = shells(neighbors, ks)
    for part, z in permuted_blocks(values, permutations):
        sums = np.zeros_like(z)
        for i, (shell, k) in enumerate(zip(parts, ks, strict=True)):
            sums += shell @ z
            residual = sums / k - z
            result[i, part] = 1 - np.einsum("ij,ij->j", residual, residual) / len(z)
    return result
