"""A small problem like the large one: some cells of each side, and a coreset of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._coreset import coreset
from ._embedding import embed, prepare
from ._problem import make_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray, IntArray

    from ._align import Settings
    from ._coreset import Coreset
    from ._problem import Side

N_CELLS = 800
_N_LANDMARKS = 128
_CORESET_SIZE = 64


def some_cells(n: int, batch: IntArray | None, rng: np.random.Generator) -> IntArray:
    """Choose at most 800 of `n` cells, in order, of which each batch has its share."""
    return stratified(np.zeros(n, np.int64) if batch is None else batch, N_CELLS, rng)


def stratified(batch: IntArray, size: int, rng: np.random.Generator) -> IntArray:
    """Draw `size` cells, in order, of which each batch has its share (one at least, as long as `size` allows)."""
    n = len(batch)
    if size >= n:
        return np.arange(n)
    count = np.bincount(batch)
    share = count * (size / n)
    taken = np.floor(share).astype(np.int64)
    if np.sum(count > 0) <= size:
        taken = np.maximum(taken, count > 0)
    # the largest remainders are rounded up; what small batches were given above their share, the others give
    while taken.sum() < size:
        taken[np.argmax(np.where(taken < count, share - taken, -np.inf))] += 1
    while taken.sum() > size:
        taken[np.argmax(np.where(taken > 1, taken - share, -np.inf))] -= 1
    cells = [rng.choice(np.flatnonzero(batch == b), k, replace=False) for b, k in enumerate(taken) if k]
    return np.sort(np.concatenate(cells))


def prepared_views(rows: FloatArray, settings: Settings) -> list[FloatArray]:
    """Rows as each metric sees them."""
    return [prepare(rows, metric) for metric in settings.metrics]


def small_side(
    views: Sequence[FloatArray], settings: Settings, rng: np.random.Generator, joint: FloatArray | None = None
) -> tuple[Side, Coreset]:
    """Coreset of cells given as each metric sees them, and of their factor of the cost of labels."""
    points = [
        embed(view, metric, n_neighbors=settings.n_neighbors, n_landmarks=_N_LANDMARKS, prepared=True, rng=rng).points
        for view, metric in zip(views, settings.metrics, strict=True)
    ]
    summary = coreset(np.concatenate(points, 1), _CORESET_SIZE, rng)
    factor = None if joint is None else summary.means(joint)
    return make_side([summary.means(p) for p in points], summary.weight, settings.device, factor), summary
