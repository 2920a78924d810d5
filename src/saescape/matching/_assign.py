"""Which feature belongs to which: one to one, and mutually best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

if TYPE_CHECKING:
    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._similarity import Similarity

# similarities up to which all pairs are considered
DENSE_ENTRIES = 2**24
# partners of each feature, from either side, that are considered beyond that
_N_CANDIDATES = 32


@dataclass(frozen=True)
class Matches:
    """Partners of the features of the first dictionary, -1 for none.

    `partner` is one to one and has the largest sum of positive similarities; `best` is the most similar feature of the
    other dictionary, which several features may share; `mutual` marks features that are also the best of their best.
    """

    partner: IntArray
    similarity: FloatArray
    best: IntArray
    best_similarity: FloatArray
    mutual: BoolArray


def match_features(similarity: Similarity, *, dense_entries: int = DENSE_ENTRIES) -> Matches:
    """Match rows with columns.

    Up to `dense_entries` pairs the assignment is exact. Beyond, only the 32 most similar partners of each feature, from
    either side, are candidates; memory is linear in the number of features.
    """
    n, m = similarity.shape
    dense = np.zeros((n, m), np.float32) if n * m <= dense_entries else None
    width = min(_N_CANDIDATES, m), min(_N_CANDIDATES, n)
    row_columns, row_values = np.zeros((n, width[0]), np.int64), np.zeros((n, width[0]), np.float32)
    # the strongest rows of each column so far
    column_rows, column_values = np.full((width[1], m), -1), np.full((width[1], m), -np.inf, np.float32)
    for start, block in similarity.blocks():
        stop = start + len(block)
        if dense is not None:
            dense[start:stop] = block
        chosen = np.argpartition(-block, width[0] - 1, axis=1)[:, : width[0]]
        row_columns[start:stop] = chosen
        row_values[start:stop] = np.take_along_axis(block, chosen, 1)
        values = np.concatenate([column_values, block])
        rows = np.concatenate([column_rows, np.broadcast_to(np.arange(start, stop)[:, None], block.shape)])
        kept = np.argpartition(-values, width[1] - 1, axis=0)[: width[1]]
        column_rows, column_values = np.take_along_axis(rows, kept, 0), np.take_along_axis(values, kept, 0)

    best_at = row_values.argmax(1)
    best = row_columns[np.arange(n), best_at]
    best_similarity = row_values[np.arange(n), best_at].astype(np.float64)
    best_row = column_rows[column_values.argmax(0), np.arange(m)]
    mutual = (best_row[best] == np.arange(n)) & (best_similarity > 0)
    if dense is not None:
        partner, matched = _assign_dense(dense)
    else:
        columns = np.broadcast_to(np.arange(m), column_rows.shape)
        candidates = _union(
            np.concatenate([np.repeat(np.arange(n), width[0]), column_rows.ravel()]),
            np.concatenate([row_columns.ravel(), columns.ravel()]),
            np.concatenate([row_values.ravel(), column_values.ravel()]).astype(np.float64),
            (n, m),
        )
        partner, matched = _assign_sparse(candidates)
    return Matches(partner, matched, np.where(best_similarity > 0, best, -1), best_similarity, mutual)


def _assign_dense(similarity: FloatArray) -> tuple[IntArray, FloatArray]:
    rows, columns = linear_sum_assignment(np.maximum(similarity, 0), maximize=True)
    partner, matched = np.full(len(similarity), -1), np.zeros(len(similarity))
    value = similarity[rows, columns]
    found = value > 0
    partner[rows[found]], matched[rows[found]] = columns[found], value[found]
    return partner, matched


def _union(rows: IntArray, columns: IntArray, values: FloatArray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Positive entries, each once."""
    positive = (values > 0) & (rows >= 0)
    rows, columns, values = rows[positive], columns[positive], values[positive]
    first = np.unique(rows * shape[1] + columns, return_index=True)[1]
    return sparse.csr_matrix((values[first], (rows[first], columns[first])), shape=shape)


def _assign_sparse(candidates: sparse.csr_matrix) -> tuple[IntArray, FloatArray]:
    n, m = candidates.shape
    # every row may stay alone, which is worth a similarity of 0; weights are shifted because 0 would be no edge
    shifted = candidates.copy()
    shifted.data = shifted.data + 1
    graph = sparse.hstack([shifted, sparse.identity(n, format="csr")], format="csr")
    rows, columns = min_weight_full_bipartite_matching(graph, maximize=True)
    partner, matched = np.full(n, -1), np.zeros(n)
    found = columns < m
    partner[rows[found]] = columns[found]
    matched[rows[found]] = np.asarray(candidates[rows[found], columns[found]]).ravel()
    return partner, matched
