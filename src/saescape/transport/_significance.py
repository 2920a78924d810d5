"""Is there anything to align, and is the alignment identified? The same search on unrelated clouds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saescape._threads import one_thread

from ._coreset import coreset
from ._embedding import embed, prepare
from ._nulls import gaussian_cloud, reduced, smooth_images
from ._problem import Problem, make_side
from ._search import search

if TYPE_CHECKING:
    from collections.abc import Callable

    from saescape._typing import FloatArray

    from ._align import Settings, Starts
    from ._problem import Side

_N_CELLS = 400
_N_LANDMARKS = 128
_CORESET_SIZE = 64
# an optimum that agrees more than this is the same map for every practical purpose
_AGREES = 0.8
# an optimum counts as near when its loss is higher by no more than this, or than 1 / sqrt(n) in small data, where the
# sampling of the cells moves the losses by more
_TOLERANCE = 0.05
_KINDS = ("smooth", "gaussian")
# rows of the null losses: which side was replaced, and by what
NULLS = tuple(f"{side}_{kind}" for kind in _KINDS for side in ("reference", "query"))


@dataclass(frozen=True)
class NullTest:
    """Loss of the data and null losses `(len(NULLS), n_nulls)`, all by one search."""

    loss: float
    null_loss: FloatArray

    @property
    def deciding_loss(self) -> FloatArray:
        """Losses `(n_nulls,)` of the kind of null that is hardest to beat."""
        return self.null_loss[int(np.argmax(np.sum(self.null_loss <= self.loss, 1)))]

    @property
    def pvalue(self) -> float:
        """The largest p-value of all kinds of nulls; NaN without nulls."""
        n_nulls = self.null_loss.shape[1]
        if n_nulls == 0:
            return float("nan")
        return float(1 + np.sum(self.deciding_loss <= self.loss)) / (1 + n_nulls)


def is_ambiguous(optima: Starts, n_cells: int) -> bool:
    """Whether another optimum of about the same loss disagrees with the chosen one; `n_cells` of the smaller side."""
    chosen = optima.loss[int(np.argmax(optima.agreement))]
    near = optima.loss <= chosen + max(_TOLERANCE, n_cells**-0.5)
    return bool(np.any(near & (optima.agreement < _AGREES)))


def null_test(
    x: FloatArray,
    y: FloatArray,
    settings: Settings,
    n_nulls: int,
    rng: np.random.Generator,
    step: Callable[[], object],
) -> NullTest:
    """Search the data and `n_nulls` nulls of each kind for each side, on at most 400 cells and a coreset of them."""
    cells = [reduced(_subsample(side, rng)) for side in (x, y)]
    observed = [_side(_views(side, settings), settings, rng) for side in cells]
    loss = _best_loss(observed[0], observed[1], settings, rng)
    null_loss = np.empty((len(NULLS), n_nulls))
    for i in range(n_nulls):
        losses = []
        for kind in _KINDS:
            for replaced in (1, 0):
                sides = list(observed)
                sides[replaced] = _side(_null_views(kind, cells[replaced], settings, rng), settings, rng)
                losses.append(_best_loss(sides[0], sides[1], settings, rng))
                step()
        null_loss[:, i] = losses
    return NullTest(loss, null_loss)


def _views(x: FloatArray, settings: Settings) -> list[FloatArray]:
    """Rows as each metric sees them."""
    return [prepare(x, metric) for metric in settings.metrics]


def _null_views(kind: str, x: FloatArray, settings: Settings, rng: np.random.Generator) -> list[FloatArray]:
    if kind == "gaussian":
        return _views(gaussian_cloud(x, rng), settings)
    return smooth_images(_views(x, settings), rng)


def _side(views: list[FloatArray], settings: Settings, rng: np.random.Generator) -> Side:
    points = [
        embed(view, metric, n_neighbors=settings.n_neighbors, n_landmarks=_N_LANDMARKS, prepared=True, rng=rng).points
        for view, metric in zip(views, settings.metrics, strict=True)
    ]
    summary = coreset(np.concatenate(points, 1), _CORESET_SIZE, rng)
    return make_side([summary.means(p) for p in points], summary.weight, settings.device)


def _best_loss(x: Side, y: Side, settings: Settings, rng: np.random.Generator) -> float:
    with one_thread():
        return float(search(Problem(x, y), settings.epsilon, settings.n_starts, rng, rounds=1).loss[0])


def _subsample(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    return x if len(x) <= _N_CELLS else x[np.sort(rng.choice(len(x), _N_CELLS, replace=False))]
