"""How alike labels are among neighbours: shared labels, and votes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._autocorrelation import shells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray, IntArray

    from ._permutations import Permutations

_BLOCK_VALUES = 2**20


def neighbor_purity(neighbors: IntArray, codes: IntArray, ks: Sequence[int], permutations: Permutations) -> FloatArray:
    """Share `(n_ks, 1 + n_perms)` of the neighbours that have the label of their row (a join count)."""
    n = len(codes)
    result = np.empty((len(ks), permutations.n_columns))
    size = max(1, _BLOCK_VALUES // n)
    small = codes.astype(np.min_scalar_type(int(codes.max())))
    for low in range(0, permutations.n_columns, size):
        high = min(low + size, permutations.n_columns)
        block = np.ascontiguousarray(small[permutations.rows(low, high)])
        shared = np.zeros(high - low, dtype=np.int64)
        start = 0
        for i, k in enumerate(ks):
            for column in range(start, k):
                shared += np.count_nonzero(block[neighbors[:, column]] == block, axis=0)
            start = k
            result[i, low:high] = shared / (n * k)
    return result


def knn_accuracy(
    neighbors: IntArray, codes: IntArray, n_labels: int, ks: Sequence[int], permutations: Permutations
) -> FloatArray:
    """Balanced accuracy `(n_ks, 1 + n_perms)` of the most frequent label among the given neighbours.

    Of labels with equally many votes the first in the order of codes is taken.
    """
    parts = [shell.astype(np.float32) for shell in shells(neighbors, ks)]
    result = np.empty((len(ks), permutations.n_columns))
    size = max(1, _BLOCK_VALUES // (len(codes) * len(ks)))
    for low in range(0, permutations.n_columns, size):
        high = min(low + size, permutations.n_columns)
        block = np.ascontiguousarray(codes[permutations.rows(low, high)])
        # votes and label in one number, of which the largest wins; float32 holds them exactly
        best = np.full((len(ks), *block.shape), -1, dtype=np.float32)
        for label in range(n_labels):
            indicator = (block == label).astype(np.float32)
            votes = np.zeros_like(indicator)
            for i, shell in enumerate(parts):
                votes += shell @ indicator
                np.maximum(best[i], votes * n_labels + (n_labels - 1 - label), out=best[i])
        winner = n_labels - 1 - best.astype(np.int64) % n_labels
        for i in range(len(ks)):
            result[i, low:high] = balanced_accuracy(winner[i], block, n_labels)
    return result


def balanced_accuracy(predicted: IntArray, codes: IntArray, n_labels: int) -> FloatArray:
    """Mean over labels of the share of their rows that is predicted, for each column."""
    recall = np.full((n_labels, codes.shape[1]), np.nan)
    right = predicted == codes
    for label in range(n_labels):
        here = codes == label
        count = here.sum(0)
        np.divide((right & here).sum(0), count, out=recall[label], where=count > 0)
    return np.nanmean(recall, axis=0)
