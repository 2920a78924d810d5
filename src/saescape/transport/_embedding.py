"""Cells as points whose squared distances are the intra-domain costs (landmark multidimensional scaling)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np
import torch
from scipy.spatial.distance import cdist

from ._diffusion import diffusion_points
from ._neighbors import geodesic_to, nearest, squared_distances
from ._sparse_rows import SparseRows, take_rows

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

    from ._sparse_rows import Rows

METRICS = ("geodesic", "euclidean", "cosine", "diffusion")
_BLOCK = 8192
N_LANDMARKS = 512


@dataclass(frozen=True)
class Embedding:
    """One view of a cell set.

    `points` `(n, r)` are centred and scaled so that the pairwise costs ``|points_i - points_k|^2`` have SD one;
    `n_links` counts the links added to connect the neighbour graph.
    """

    points: FloatArray
    n_links: int = 0


@overload
def prepare(x: FloatArray, metric: str) -> FloatArray: ...


@overload
def prepare(x: SparseRows, metric: str) -> SparseRows: ...


def prepare(x: Rows, metric: str) -> Rows:
    """Rows as the metric sees them, float32: centred (euclidean) or of unit length (all others).

    Unit length is what makes modalities with different depth or brightness per cell comparable.
    """
    if isinstance(x, SparseRows):
        # a common offset changes no distance, and would leave no zeros
        return x if metric == "euclidean" else x.of_unit_length()
    x = np.asarray(x)
    mean = x.mean(0, dtype=np.float64)
    out = np.empty(x.shape, np.float32)
    for start in range(0, len(x), _BLOCK):
        rows = x[start : start + _BLOCK].astype(np.float64)
        if metric == "euclidean":
            out[start : start + _BLOCK] = rows - mean
        else:
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            out[start : start + _BLOCK] = rows / np.where(length > 0, length, 1)
    return out


def embed(
    x: Rows,
    metric: str,
    *,
    n_neighbors: int | None = None,
    rank: int = 20,
    n_landmarks: int = N_LANDMARKS,
    prepared: bool = False,
    rng: np.random.Generator,
) -> Embedding:
    """Embed the cells so that squared distances approximate the metric's distances.

    Euclidean distances (not squared), chord distances of unit vectors (`cosine`), diffusion distances and, closely,
    geodesics are of conditionally negative type: they are squared distances of some Hilbert space, and the leading
    `rank` axes of that space are found from the distances to landmarks (landmark MDS; de Silva & Tenenbaum 2004).

    Raises
    ------
    ValueError
        If all cells are the same.
    """
    rows = np.asarray(x, np.float32) if prepared else prepare(x, metric)
    n = len(rows)
    n_links = 0
    if metric == "diffusion":
        _check_not_constant(_distances(rows, rows[:1]).max(), rows)
        rows, n_links = diffusion_points(rows, default_neighbors(n, n_neighbors), rng)
    landmarks = choose_landmarks(rows, min(n, n_landmarks), rng)
    if metric == "geodesic":
        distances, n_links = geodesic_to(rows, landmarks, default_neighbors(n, n_neighbors), rng)
    else:
        distances = _distances(rows, rows[landmarks])
    _check_not_constant(distances.max(), rows)

    between = distances[landmarks].astype(np.float64)
    between = (between + between.T) / 2
    mean = between.mean(0)
    gram = -0.5 * (between - mean[None] - mean[:, None] + between.mean())
    eigenvalues, vectors = np.linalg.eigh(gram)
    order = np.argsort(-eigenvalues)[:rank]
    eigenvalues, vectors = eigenvalues[order], vectors[:, order]
    keep = eigenvalues > max(1e-5 * eigenvalues[0], 1e-12 * np.abs(gram).max())
    project = (vectors[:, keep] / np.sqrt(eigenvalues[keep])).astype(np.float32)
    points = np.concatenate(
        [-0.5 * (distances[s : s + _BLOCK] - mean.astype(np.float32)) @ project for s in range(0, n, _BLOCK)]
    )
    return Embedding(unit_cost(points), n_links)


def dense_costs(x: Rows, metric: str, *, n_neighbors: int | None, rng: np.random.Generator) -> tuple[FloatArray, int]:
    """All pairwise distances `(n, n)` with SD one, float64, and the number of links added to the graph."""
    rows = prepare(x, metric)[:]
    n_links = 0
    if metric == "diffusion":
        _check_not_constant(_distances(rows, rows[:1]).max(), rows)
        points, n_links = diffusion_points(
            rows, default_neighbors(len(rows), n_neighbors), rng, rank=None, n_anchors=len(rows)
        )
        distances = cdist(points, points)
    elif metric == "geodesic":
        k = default_neighbors(len(rows), n_neighbors)
        distances, n_links = geodesic_to(rows, np.arange(len(rows)), k, rng, n_anchors=len(rows))
    else:
        distances = _distances(rows, rows)
    costs = distances.astype(np.float64)
    costs = (costs + costs.T) / 2
    np.fill_diagonal(costs, 0)
    sd = costs.std()
    _check_not_constant(sd, rows)
    return costs / sd, n_links


def _check_not_constant(spread: float, rows: Rows) -> None:
    values = rows.matrix if isinstance(rows, SparseRows) else rows
    if not spread > 1e-6 * max(1e-30, float(values.max()), -float(values.min())):
        msg = "all distances are zero: the representation is constant"
        raise ValueError(msg)


def default_neighbors(n: int, n_neighbors: int | None) -> int:
    """Neighbors in the graph of `n` cells: 30 by default, fewer in small data, where 30 would reach across all."""
    return min(max(5, n // 6), 30) if n_neighbors is None else n_neighbors


def unit_cost(points: FloatArray) -> FloatArray:
    """Centre the points and scale them so that the squared distances over all pairs have SD one."""
    points = np.asarray(points, np.float64)
    points = points - points.mean(0)
    squared = (points**2).sum(1)
    covariance = points.T @ points / len(points)
    # variance of |p_i - p_k|^2 over pairs drawn with replacement, for centred points
    variance = 2 * (squared**2).mean() - 2 * squared.mean() ** 2 + 4 * (covariance**2).sum()
    return (points / variance**0.25).astype(np.float32)


def choose_landmarks(rows: Rows, n_landmarks: int, rng: np.random.Generator) -> IntArray:
    """Choose half at random, half far from those (squared-distance sampling), so that rare populations are seen."""
    n = len(rows)
    if n_landmarks >= n:
        return np.arange(n)
    pool = rng.choice(n, min(n, 30 * n_landmarks), replace=False)
    half = n_landmarks // 2
    uniform, rest = pool[:half], pool[half:]
    weight = (
        nearest(take_rows(rows, rest), rows[uniform], 1)[1][:, 0].astype(np.float64) ** 2
        if half
        else np.zeros(len(rest))
    )
    # the small constant keeps every cell possible, also when all the others are copies of chosen ones
    weight = weight + max(weight.mean(), 1e-30)
    far = rng.choice(rest, n_landmarks - half, replace=False, p=weight / weight.sum())
    return np.sort(np.concatenate([uniform, far]))


def _distances(rows: Rows, landmarks: FloatArray) -> FloatArray:
    if isinstance(rows, SparseRows):
        return np.concatenate([np.sqrt(np.maximum(d, 0)) for _, d in squared_distances(rows, landmarks)])
    a, b = torch.from_numpy(rows), torch.from_numpy(landmarks)
    blocks = [torch.cdist(a[s : s + _BLOCK], b) for s in range(0, len(a), _BLOCK)]
    return torch.cat(blocks).numpy()
