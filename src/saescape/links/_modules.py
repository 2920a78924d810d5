"""Genes that are linked to the same features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

_MAX_AUTOMATIC = 15


def gene_modules(profiles: FloatArray, n_modules: int | None) -> IntArray:
    """Module of each gene, the largest first, by average linkage of ``1 - correlation`` of the profiles.

    Parameters
    ----------
    profiles
        `(n_genes, n_features)`: how each gene is linked to each feature.
    n_modules
        Number of modules; None takes the one from 2 to 15 with the largest mean silhouette (Rousseeuw 1987).
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from sklearn.metrics import silhouette_score

    n = len(profiles)
    if n < 3 and n_modules is None:
        return np.zeros(n, np.int64)
    if n == 1:
        return np.zeros(1, np.int64)
    distance = _distances(profiles)
    tree = linkage(squareform(distance, checks=False), "average")
    if n_modules is not None:
        return _largest_first(fcluster(tree, min(n_modules, n), "maxclust"))
    best, label = -np.inf, np.ones(n, np.int64)
    for k in range(2, min(_MAX_AUTOMATIC, n - 1) + 1):
        candidate = fcluster(tree, k, "maxclust")
        if len(np.unique(candidate)) < 2:
            continue
        score = float(silhouette_score(distance, candidate, metric="precomputed"))
        if score > best + 1e-9:
            best, label = score, candidate
    return _largest_first(label)


def _distances(profiles: FloatArray) -> FloatArray:
    centred = np.nan_to_num(np.asarray(profiles, np.float64))
    centred -= centred.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(length > 0, length, 1)
    distance = np.clip(1 - unit @ unit.T, 0, 2)
    np.fill_diagonal(distance, 0)
    return (distance + distance.T) / 2


def _largest_first(label: IntArray) -> IntArray:
    names, first, inverse, count = np.unique(label, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -count))
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return rank[inverse.ravel()]
