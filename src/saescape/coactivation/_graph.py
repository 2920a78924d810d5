"""Modules of features that are active together, and features inside of others."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._pairs import Pairs

# a child is active almost only where its parent is, and the parent is active elsewhere too
_INSIDE, _ELSEWHERE = 0.95, 0.5
# chance alone must not put it there
_LARGEST_CHANCE = 0.5


def pair_graph(pairs: Pairs, kept: BoolArray, n_features: int) -> sparse.csr_matrix:
    """Symmetric matrix of the pointwise mutual information of the pairs kept, positive ones only."""
    kept = kept & (pairs.pmi > 0)
    first, second = pairs.first[kept], pairs.second[kept]
    both = np.concatenate([first, second]), np.concatenate([second, first])
    weight = np.tile(pairs.pmi[kept], 2).astype(np.float32)
    return sparse.csr_matrix((weight, both), shape=(n_features, n_features))


def communities(graph: sparse.csr_matrix, *, resolution: float, min_size: int, seed: int) -> IntArray:
    """Module of each feature by the Leiden algorithm (modularity), the largest first; -1 for none.

    Parameters
    ----------
    graph
        Symmetric weights.
    min_size
        Features of the smallest module.
    seed
        Of the algorithm, which visits nodes in random order.
    """
    import igraph

    label = np.full(graph.shape[0], -1, dtype=np.int64)
    upper = sparse.triu(graph, k=1).tocoo()
    if upper.nnz == 0:
        return label
    linked = np.unique(np.concatenate([upper.row, upper.col]))
    number = np.full(graph.shape[0], -1)
    number[linked] = np.arange(len(linked))
    network = igraph.Graph(len(linked), np.column_stack([number[upper.row], number[upper.col]]).tolist())
    igraph.set_random_number_generator(random.Random(seed))
    try:
        partition = network.community_leiden("modularity", upper.data.tolist(), resolution, n_iterations=-1)
    finally:
        igraph.set_random_number_generator(random)
    member = np.asarray(partition.membership)
    sizes = np.bincount(member)
    first = np.unique(member, return_index=True)[1]
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(sizes), np.int64)
    rank[order] = np.where(sizes[order] >= min_size, np.arange(len(sizes)), -1)
    label[linked] = rank[member]
    return label


def hierarchy(pairs: Pairs, significant: BoolArray, n_active: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Parent of each feature (-1 for none), and the share of the child's and of the parent's cells that are common.

    A parent is active in more than 95 % of the child's cells, of which chance would give at most half, and the child in
    less than half of the parent's. Of several parents the one with the fewest cells is the nearest.
    """
    m = len(n_active)
    child = np.concatenate([pairs.first[significant], pairs.second[significant]])
    above = np.concatenate([pairs.second[significant], pairs.first[significant]])
    count, expected = (np.tile(values[significant], 2) for values in (pairs.count, pairs.expected))
    of_child, of_parent, chance = count / n_active[child], count / n_active[above], expected / n_active[child]
    is_child = (of_child > _INSIDE) & (of_parent < _ELSEWHERE) & (chance <= _LARGEST_CHANCE)
    parent, share_child, share_parent = np.full(m, -1), np.full(m, np.nan), np.full(m, np.nan)
    candidates = np.flatnonzero(is_child)
    # the last that is written stays: fewest cells, then the larger share
    candidates = candidates[np.lexsort((above[candidates], of_child[candidates], -n_active[above[candidates]]))]
    parent[child[candidates]] = above[candidates]
    share_child[child[candidates]], share_parent[child[candidates]] = of_child[candidates], of_parent[candidates]
    return parent, share_child, share_parent
