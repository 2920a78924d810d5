"""Weighted k-means summaries of a cell set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saescape._random import child_seed

from ._neighbors import nearest

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray


@dataclass(frozen=True)
class Coreset:
    """Which point of the summary each cell belongs to, and the share of cells of each point."""

    label: IntArray
    weight: FloatArray

    def means(self, values: FloatArray) -> FloatArray:
        """Mean of the cells' `values` `(n, d)` in each point."""
        size = len(self.weight)
        count = np.bincount(self.label, minlength=size)
        sums = np.stack([np.bincount(self.label, column, size) for column in np.asarray(values).T], 1)
        return (sums / count[:, None]).astype(np.float32)


def coreset(points: FloatArray, size: int, rng: np.random.Generator) -> Coreset:
    """Summarise cells by `size` k-means centres (fitted on at most ``20 * size`` cells); all cells when fewer."""
    n = len(points)
    if size >= n:
        return Coreset(np.arange(n), np.full(n, 1 / n))
    from sklearn.cluster import MiniBatchKMeans

    fit_on = points if n <= 20 * size else points[rng.choice(n, 20 * size, replace=False)]
    kmeans = MiniBatchKMeans(
        size,
        random_state=child_seed(rng) % 2**32,
        n_init=1,
        batch_size=max(4096, size),
        max_iter=20,
        reassignment_ratio=0,
    ).fit(fit_on)
    label = nearest(points, kmeans.cluster_centers_, 1)[0][:, 0]
    used, label = np.unique(label, return_inverse=True)
    return Coreset(label, np.bincount(label, minlength=len(used)) / n)
