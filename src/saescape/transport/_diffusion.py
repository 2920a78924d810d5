"""Diffusion distances on the neighbour graph as distances of points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.linalg import eigh

from ._neighbors import N_ANCHORS, nearest, neighbor_graph
from ._sparse_rows import take_rows

if TYPE_CHECKING:
    from saescape._typing import FloatArray

    from ._sparse_rows import Rows

_BLOCK = 8192
# longest random walk that counts
_N_STEPS = 100
# smallest bandwidth, as a share of the mean
_MIN_BANDWIDTH = 0.01


def diffusion_points(
    x: Rows, n_neighbors: int, rng: np.random.Generator, *, rank: int | None = 50, n_anchors: int = N_ANCHORS
) -> tuple[FloatArray, int]:
    """Points `(n, rank + 1)` whose distances are diffusion distances, and the number of links added to the graph.

    The random walk T is that of Coifman & Lafon (2006) with alpha = 1, which takes out the density of the cells, on
    the neighbour graph with the kernel of Haghverdi et al. (2016), whose bandwidth is half the distance to the last
    neighbour. The squared distance of two cells is that of their rows of ``M = T + T^2 + ... + T^100`` with the weights
    ``1 / pi_j``, pi the walk's stationary distribution. All scales are in M, as in diffusion pseudotime, so there is no
    time to choose that would have to mean the same in two modalities; and since the walks end, two populations that
    are joined by a single link are not infinitely far apart. A link counts as much as the weakest edge.

    Above `n_anchors` cells the graph is built on a random subset, and every other cell gets what a walk that starts
    with a step to its nearest anchors would get (Nystrom extension): time and memory stay linear in the number of
    cells. With `rank` None all components are kept. One of the components is constant.
    """
    n = len(x)
    anchors = np.arange(n) if n <= n_anchors else np.sort(rng.choice(n, n_anchors, replace=False))
    points, size = x[anchors], len(anchors)
    near = min(n_neighbors, size - 1)
    graph, n_links = neighbor_graph(points, near)
    reach = nearest(points, points, near, exclude_self=True)[1][:, -1]
    # a cell with many copies would have no bandwidth
    least = max(_MIN_BANDWIDTH * float(reach.mean()), float(graph.data.min())) / 2
    bandwidth = np.maximum(reach / 2, least)
    eigenvalues, components, density = _walk(_kernel(graph, bandwidth), rank)
    # sum of the powers 0 to 99: the first step is that of the cell itself
    later = components * _geometric_sum(eigenvalues)
    own = (later * eigenvalues).astype(np.float32)
    if n == size:
        return own, n_links
    out = np.empty((n, own.shape[1]), np.float32)
    for start in range(0, n, _BLOCK):
        index, distance = nearest(take_rows(x, slice(start, start + _BLOCK)), points, near)
        width = np.maximum(distance[:, -1:] / 2, least)
        step = _gaussian(distance, width, bandwidth[index]) / density[index]
        step /= step.sum(1, keepdims=True)
        out[start : start + _BLOCK] = np.einsum("ik,ikr->ir", step, later[index], optimize=True)
    out[anchors] = own
    return out, n_links


def _gaussian(distance: FloatArray, width: FloatArray, other: FloatArray) -> FloatArray:
    squares = width.astype(np.float64) ** 2 + other.astype(np.float64) ** 2
    return np.sqrt(2.0 * width * other / squares) * np.exp(-(distance.astype(np.float64) ** 2) / squares)


def _kernel(graph: sparse.csr_matrix, bandwidth: FloatArray) -> sparse.csr_matrix:
    """Kernel on the edges and, with one, on the diagonal."""
    edges = graph.tocoo()
    width, other = bandwidth[edges.row], bandwidth[edges.col]
    weight = _gaussian(edges.data, width, other)
    # edges to neighbours are no longer than the reach of one of their ends; links are
    is_neighbor = edges.data <= 2.001 * np.maximum(width, other)
    weight = np.maximum(weight, weight[is_neighbor].min())
    kernel = sparse.csr_matrix((weight, (edges.row, edges.col)), graph.shape)
    return (kernel + sparse.eye(graph.shape[0])).tocsr()


def _walk(kernel: sparse.csr_matrix, rank: int | None) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Largest eigenvalues of the walk, its right eigenvectors (orthonormal under pi), and the density taken out."""
    density = np.asarray(kernel.sum(1)).ravel()
    inverse = sparse.diags(1 / density)
    kernel = inverse @ kernel @ inverse
    degree = np.asarray(kernel.sum(1)).ravel()
    half = sparse.diags(degree**-0.5)
    n = len(degree)
    first = 0 if rank is None else max(0, n - 1 - rank)
    # dense: populations that hardly touch have eigenvalues that iterative solvers do not tell apart
    eigenvalues, vectors = eigh(
        (half @ kernel @ half).toarray(), subset_by_index=[first, n - 1], overwrite_a=True, check_finite=False
    )
    root = np.sqrt(degree / degree.sum())
    return eigenvalues[::-1], vectors[:, ::-1] / root[:, None], density


def _geometric_sum(eigenvalues: FloatArray) -> FloatArray:
    """``1 + v + ... + v^99`` of each."""
    rest = 1 - eigenvalues
    near_one = rest < 1e-9
    return np.where(near_one, _N_STEPS, (1 - eigenvalues**_N_STEPS) / np.where(near_one, 1, rest))
