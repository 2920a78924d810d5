"""Cells as points whose squared distances are the intra-domain costs (landmark multidimensional scaling)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ._neighbors import geodesic_to, nearest

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

METRICS = ("geodesic", "euclidean", "cosine")
_BLOCK = 8192
_N_LANDMARKS = 512


@dataclass(frozen=True)
class Embedding:
    """One view of a cell set.

    `points` `(n, r)` are centred and scaled so that the pairwise costs ``|points_i - points_k|^2`` have SD one;
    `n_links` counts the links added to connect the neighbour graph.
    """

    points: FloatArray
    n_links: int = 0


def prepare(x: FloatArray, metric: str) -> FloatArray:
    """Rows as the metric sees them: centred (euclidean) or of unit length (cosine, geodesic).

    Unit length is what makes modalities with different depth or brightness per cell comparable.
    """
    x = np.asarray(x, np.float64)
    if metric == "euclidean":
        return (x - x.mean(0)).astype(np.float32)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return (x / np.where(length > 0, length, 1)).astype(np.float32)


def embed(
    x: FloatArray,
    metric: str,
    *,
    n_neighbors: int | None = None,
    rank: int = 20,
    n_landmarks: int = _N_LANDMARKS,
    prepared: bool = False,
    rng: np.random.Generator,
) -> Embedding:
    """Embed the cells so that squared distances approximate the metric's distances.

    Euclidean distances (not squared), chord distances of unit vectors (`cosine`) and, closely, geodesics are of
    conditionally negative type: they are squared distances of some Hilbert space, and the leading `rank` axes of
    that space are found from the distances to landmarks (landmark MDS; de Silva & Tenenbaum 2004).

    Raises
    ------
    ValueError
        If all cells are the same.
    """
    rows = np.asarray(x, np.float32) if prepared else prepare(x, metric)
    n = len(rows)
    landmarks = choose_landmarks(rows, min(n, n_landmarks), rng)
    n_links = 0
    if metric == "geodesic":
        distances, n_links = geodesic_to(rows, landmarks, default_neighbors(n, n_neighbors), rng)
    else:
        distances = _distances(rows, rows[landmarks])
    if not distances.max() > 1e-6 * max(1e-30, float(np.abs(rows).max())):
        msg = "all distances are zero: the representation is constant"
        raise ValueError(msg)

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


def dense_costs(
    x: FloatArray, metric: str, *, n_neighbors: int | None, rng: np.random.Generator
) -> tuple[FloatArray, int]:
    """All pairwise distances `(n, n)` with SD one, float64, and the number of links added to the graph."""
    rows = prepare(x, metric)
    n_links = 0
    if metric == "geodesic":
        k = default_neighbors(len(rows), n_neighbors)
        distances, n_links = geodesic_to(rows, np.arange(len(rows)), k, rng, n_anchors=len(rows))
    else:
        distances = _distances(rows, rows)
    costs = distances.astype(np.float64)
    costs = (costs + costs.T) / 2
    np.fill_diagonal(costs, 0)
    sd = costs.std()
    if not sd > 1e-6 * max(1e-30, float(np.abs(rows).max())):
        msg = "all distances are zero: the representation is constant"
        raise ValueError(msg)
    return costs / sd, n_links


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


def choose_landmarks(rows: FloatArray, n_landmarks: int, rng: np.random.Generator) -> IntArray:
    """Choose half at random, half far from those (squared-distance sampling), so that rare populations are seen."""
    n = len(rows)
    if n_landmarks >= n:
        return np.arange(n)
    pool = rng.choice(n, min(n, 30 * n_landmarks), replace=False)
    half = n_landmarks // 2
    uniform, rest = pool[:half], pool[half:]
    weight = nearest(rows[rest], rows[uniform], 1)[1][:, 0].astype(np.float64) ** 2 if half else np.zeros(len(rest))
    # the small constant keeps every cell possible, also when all the others are copies of chosen ones
    weight = weight + max(weight.mean(), 1e-30)
    far = rng.choice(rest, n_landmarks - half, replace=False, p=weight / weight.sum())
    return np.sort(np.concatenate([uniform, far]))


def _distances(rows: FloatArray, landmarks: FloatArray) -> FloatArray:
    a, b = torch.from_numpy(rows), torch.from_numpy(landmarks)
    blocks = [torch.cdist(a[s : s + _BLOCK], b) for s in range(0, len(a), _BLOCK)]
    return torch.cat(blocks).numpy()
