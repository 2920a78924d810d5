"""Distances within a modality: those the peers are given, and the standardised ones every coupling is scored on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .data import Pair

SCORED = ("cosine", "geodesic")


def unit_rows(x: NDArray) -> NDArray:
    return x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-12)


def prepared(x: NDArray, rows: str) -> NDArray:
    """Rows as they are (`"raw"`) or of unit length (`"unit"`)."""
    return {"raw": np.asarray, "unit": unit_rows}[rows](x)


def euclidean(x: NDArray, rows: str) -> NDArray:
    """Euclidean distances over their maximum, as in the examples of POT."""
    distances = cdist(prepared(x, rows), prepared(x, rows))
    return distances / distances.max()


def graph_distances(x: NDArray, n_neighbors: int) -> NDArray:
    """Distances of SCOT: steps in the graph of correlation neighbours, out of reach counts as the farthest."""
    from sklearn.neighbors import kneighbors_graph

    rows = unit_rows(x)
    n_neighbors = min(n_neighbors, len(x) // 5)
    graph = kneighbors_graph(rows, n_neighbors, mode="connectivity", metric="correlation", include_self=True)
    distances = dijkstra(graph, directed=False)
    reached = np.isfinite(distances)
    distances[~reached] = distances[reached].max()
    return distances / distances.max()


def store_scored(pair: Pair, path: Path) -> None:
    """Keep the distances that `tl.gw_map` compares, all pairs, at mean zero and SD one."""
    from saescape.transport._embedding import dense_costs

    kept = {}
    for side, x in (("x", pair.x), ("y", pair.y)):
        for metric in SCORED:
            costs, _ = dense_costs(x, metric, n_neighbors=None, rng=np.random.default_rng(0))
            kept[f"{metric}_{side}"] = (costs - costs.mean()).astype(np.float32)
    np.savez(path, **kept)


def common_loss(plan: NDArray, path: Path) -> dict[str, float]:
    """Compute `2 (1 - r)`, r the correlation of the two modalities' standardised distances under the plan, and mean."""
    plan = (plan / plan.sum()).astype(np.float32)
    with np.load(path) as costs:
        correlation = {
            metric: float(np.vdot(costs[f"{metric}_x"] @ plan @ costs[f"{metric}_y"], plan)) for metric in SCORED
        }
    loss = {metric: 2 - 2 * r for metric, r in correlation.items()}
    return {**loss, "mean": float(np.mean(list(loss.values())))}


def paired_correlation(pair: Pair, path: Path) -> dict[str, float]:
    """How far the two modalities agree on which cells are close: correlation of the distances of paired cells."""
    above = np.triu_indices(len(pair.x), 1)
    with np.load(path) as costs:
        sides = {metric: (costs[f"{metric}_x"], costs[f"{metric}_y"]) for metric in SCORED}
    sides["euclidean"] = (euclidean(pair.x, "raw"), euclidean(pair.y, "raw"))
    return {metric: float(np.corrcoef(x[above], y[above])[0, 1]) for metric, (x, y) in sides.items()}
