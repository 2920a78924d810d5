"""Unrelated clouds that look like the data, for refitted nulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape._random import child_seed

if TYPE_CHECKING:
    from saescape._typing import FloatArray

_MIN_CLUSTERS, _MAX_CLUSTERS = 4, 16
# concentration of the drawn cluster sizes: moderately unequal, as cell types are
_SIZE_CONCENTRATION = 3.0


def rearranged(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Keep the clusters of a cloud and the second moments of their centres, draw their arrangement and sizes anew.

    The result is as clustered and as anisotropic as the data, but how its clusters lie to each other, and which are
    large, is chance: a stand-in for another data set of the same kind. Nulls without clusters (Gaussian, permuted
    axes) are easier to tell from any clustered data and reject unrelated data too often; nulls that keep the sizes
    keep part of what identifies related data.
    """
    from sklearn.cluster import KMeans

    n = len(x)
    x = np.asarray(x, np.float64)
    n_distinct = len(np.unique(x, axis=0))
    high = min(int(np.clip(n // 8, 2, _MAX_CLUSTERS)), n_distinct)
    n_clusters = int(rng.integers(min(_MIN_CLUSTERS, high), high + 1))
    kmeans = KMeans(n_clusters, n_init=1, random_state=child_seed(rng) % 2**32).fit(x)
    label = kmeans.labels_
    centres = np.stack([x[label == c].mean(0) for c in range(n_clusters)])
    weight = np.bincount(label, minlength=n_clusters) / n

    size = 1 + rng.multinomial(n - n_clusters, rng.dirichlet(np.full(n_clusters, _SIZE_CONCENTRATION)))
    new_label = np.repeat(np.arange(n_clusters), size)
    cells = np.concatenate([_draw(x[label == c], size[c], rng) for c in range(n_clusters)])
    moved = _arrangement(centres - weight @ centres, weight, size / n, rng)
    return cells + (moved - centres)[new_label]


def _draw(members: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    """Cells of one cluster; beyond their number, points between two of them, so that no cell is repeated."""
    n = len(members)
    if size <= n:
        return members[rng.choice(n, size, replace=False)]
    first, second = rng.integers(n, size=(2, size - n))
    share = rng.random((size - n, 1))
    return np.concatenate([members, members[first] + share * (members[second] - members[first])])


def _arrangement(
    centres: FloatArray, weight: FloatArray, new_weight: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Random centres whose second moments under `new_weight` are those of `centres` under `weight`."""
    _, spread, axes = np.linalg.svd(centres * np.sqrt(weight)[:, None], full_matrices=False)
    rank = int(np.sum(spread > 1e-8 * max(float(spread[0]), 1e-300)))
    drawn = rng.normal(size=(len(centres), rank))
    drawn -= new_weight @ drawn / new_weight.sum()
    left, _, right = np.linalg.svd(drawn * np.sqrt(new_weight)[:, None], full_matrices=False)
    return (left @ right / np.sqrt(new_weight)[:, None] * spread[:rank]) @ axes[:rank]


def reduced(x: FloatArray) -> FloatArray:
    """The same points in at most as many dimensions as there are points (distances and norms are kept)."""
    if x.shape[1] <= len(x):
        return x
    left, size, _ = np.linalg.svd(np.asarray(x, np.float64), full_matrices=False)
    return left * size
