"""Exact nearest neighbours and shortest paths on a connected neighbour graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components, dijkstra

from ._sparse_rows import SparseRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import FloatArray, IntArray

    from ._sparse_rows import Rows

_BLOCK = 2048
# cells on which a graph is built when there are more
N_ANCHORS = 4000
# values of the pairs whose differences are taken at once
_MAX_GATHERED = 2**24


def nearest(
    queries: Rows,
    points: FloatArray,
    k: int,
    *,
    exclude_self: bool = False,
    groups: tuple[IntArray, IntArray] | None = None,
) -> tuple[IntArray, FloatArray]:
    """Find the `k` nearest `points` of each query by Euclidean distance: indices and distances, nearest first.

    With `exclude_self`, query i is point i and is left out; with `groups` (labels of queries and of points), points
    of the query's own group are left out.
    """
    points = _f32(points)
    p_all = torch.from_numpy(points)
    indices, distances = [], []
    for start, squares in squared_distances(queries, points):
        d2 = torch.from_numpy(squares)
        if exclude_self:
            d2[torch.arange(len(d2)), torch.arange(start, start + len(d2))] = torch.inf
        if groups is not None:
            own = groups[0][start : start + len(d2), None] == groups[1][None]
            d2[torch.from_numpy(own)] = torch.inf
        _, index = d2.topk(k, 1, largest=False)
        # differences of the chosen pairs only: the expanded square loses small distances to rounding
        size = max(1, _MAX_GATHERED // (k * points.shape[1]))
        parts = []
        for low in range(0, len(index), size):
            q = torch.from_numpy(_f32(queries[start + low : start + min(low + size, len(index))]))
            parts.append((q[:, None] - p_all[index[low : low + size]]).norm(dim=2))
        exact = torch.cat(parts)
        order = exact.argsort(dim=1, stable=True)
        indices.append(index.gather(1, order))
        distances.append(exact.gather(1, order))
    return torch.cat(indices).numpy(), torch.cat(distances).numpy()


def squared_distances(queries: Rows, points: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    """Squared Euclidean distances of blocks of queries to all points, by expanding the square: may round below zero."""
    points = _f32(points)
    squares = np.einsum("ij,ij->i", points, points)
    # products with a sparse matrix want the rows of the other one side by side
    columns = np.ascontiguousarray(points.T) if isinstance(queries, SparseRows) else points.T
    for start in range(0, len(queries), _BLOCK):
        if isinstance(queries, SparseRows):
            block = queries.take(slice(start, start + _BLOCK))
            own, products = block.squares(), block.matrix @ columns
        else:
            q = torch.from_numpy(_f32(queries[start : start + _BLOCK]))
            own, products = (q**2).sum(1).numpy(), (q @ torch.from_numpy(columns)).numpy()
        products *= -2
        products += squares
        products += own[:, None]
        yield start, products


def neighbor_graph(x: FloatArray, n_neighbors: int) -> tuple[sparse.csr_matrix, int]:
    """Build the symmetric `n_neighbors` graph with Euclidean edge lengths, connected; also the links that were added.

    Components are joined as in Boruvka's algorithm: in each round every component gets its shortest link to
    another one, so that no pair of cells is infinitely far apart and no arbitrary maximum has to be filled in.
    """
    n = len(x)
    index, distance = nearest(x, x, min(n_neighbors, n - 1), exclude_self=True)
    rows = np.repeat(np.arange(n), index.shape[1])
    graph = _symmetric(rows, index.ravel(), distance.ravel(), n)
    n_links = 0
    n_components, component = connected_components(graph, directed=False)
    while n_components > 1:
        partner, gap = nearest(x, x, 1, groups=(component, component))
        partner, gap = partner[:, 0], gap[:, 0]
        order = np.lexsort((gap, component))
        first = order[np.unique(component[order], return_index=True)[1]]
        links = _symmetric(first, partner[first], gap[first], n)
        graph = graph.maximum(links)
        before = n_components
        n_components, component = connected_components(graph, directed=False)
        n_links += before - n_components
    return graph.tocsr(), n_links


def geodesic_to(
    x: Rows, landmarks: IntArray, n_neighbors: int, rng: np.random.Generator, n_anchors: int = N_ANCHORS
) -> tuple[FloatArray, int]:
    """Shortest-path distances `(n, n_landmarks)` on the neighbour graph, and the number of links added to connect it.

    Above `n_anchors` cells the graph is built on a random subset that holds the landmarks, and each cell enters it
    through its five nearest anchors: time and memory stay linear in the number of cells.
    """
    n = len(x)
    if n <= n_anchors:
        anchors = np.arange(n)
    else:
        anchors = np.unique(np.concatenate([landmarks, rng.choice(n, n_anchors, replace=False)]))
    points = x[anchors]
    graph, n_links = neighbor_graph(points, n_neighbors)
    paths = dijkstra(graph, directed=False, indices=np.searchsorted(anchors, landmarks)).T.astype(np.float32)
    if n <= n_anchors:
        return np.ascontiguousarray(paths), n_links
    index, distance = nearest(x, points, 5)
    out = np.empty((n, len(landmarks)), np.float32)
    for start in range(0, n, _BLOCK):
        block = slice(start, start + _BLOCK)
        out[block] = (paths[index[block]] + distance[block][:, :, None]).min(1)
    return out, n_links


def _symmetric(rows: IntArray, cols: IntArray, values: FloatArray, n: int) -> sparse.csr_matrix:
    # sparse graphs drop zeros, so duplicates of a cell get a length that is negligible but not zero
    positive = values[values > 0]
    floor = 1e-6 * float(positive.mean()) if len(positive) else 1e-12
    graph = sparse.csr_matrix((np.maximum(values, floor), (rows, cols)), (n, n))
    return graph.maximum(graph.T)


def _f32(x: FloatArray) -> FloatArray:
    return np.ascontiguousarray(x, dtype=np.float32)
