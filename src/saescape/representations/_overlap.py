"""Neighbours that two representations share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray, IntArray

    from ._permutations import Permutations

# rows of a block, whose comparisons stay in cache
_BLOCK_ROWS = 256


def knn_overlap(first: IntArray, second: IntArray, ks: Sequence[int], permutations: Permutations) -> FloatArray:
    """Mean share `(n_ks, 1 + n_perms)` of a row's `k` nearest neighbours in one space that are so in the other.

    In a permutation, the rows of the second space are exchanged (its graph is relabelled), so that both graphs stay
    as they are. Without blocks the mean over all permutations is ``k / (n - 1)``.
    """
    n, width = first.shape
    result = np.empty((len(ks), permutations.n_columns))
    for number in range(permutations.n_columns):
        row = permutations.rows(number, number + 1)[:, 0]
        # in the second space cell i plays the part of cell row[i]
        part_of = np.empty(n, dtype=np.int32)
        part_of[row] = np.arange(n)
        shared = np.cumsum(shared_ranks(first, part_of[second[row]]))
        result[:, number] = [shared[k - 1] / (n * k) for k in ks]
    return result


def shared_ranks(first: IntArray, second: IntArray) -> IntArray:
    """Number of shared neighbours `(width,)` by the larger of their two ranks (from 0)."""
    n, width = first.shape
    counts = np.zeros((width, width), dtype=np.int64)
    for start in range(0, n, _BLOCK_ROWS):
        # rows last, so that they lie side by side
        some = np.ascontiguousarray(first[start : start + _BLOCK_ROWS].T)
        others = np.ascontiguousarray(second[start : start + _BLOCK_ROWS].T)
        counts += (some[:, None] == others[None]).view(np.uint8).sum(2, dtype=np.uint16)
    larger = np.maximum.outer(np.arange(width), np.arange(width))
    return np.bincount(larger.ravel(), weights=counts.ravel(), minlength=width).astype(np.int64)
