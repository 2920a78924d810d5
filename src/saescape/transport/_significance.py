"""Is there anything to align, and is the alignment identified? The same search on unrelated clouds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saescape._threads import one_thread

from ._coreset import coreset
from ._embedding import embed, prepare
from ._nulls import rearranged, reduced
from ._problem import Problem, make_side
from ._search import search

if TYPE_CHECKING:
    from collections.abc import Callable

    from saescape._typing import FloatArray

    from ._align import Settings, Starts
    from ._problem import Side

_N_CELLS = 500
_CORESET_SIZE = 128
# an optimum that agrees more than this is the same map for every practical purpose
_AGREES = 0.8
# an optimum counts as near when its loss is within this share of the SD of the null losses
_TOLERANCE = 0.5
# SD of the null losses when there are none: a typical one
_DEFAULT_SPREAD = 0.1


@dataclass(frozen=True)
class NullTest:
    """Loss of the data and null losses `(2, n_nulls)` (reference destroyed, query destroyed), all by one search."""

    loss: float
    null_loss: FloatArray

    @property
    def deciding_loss(self) -> FloatArray:
        """Losses `(n_nulls,)` of the kind of null that is harder to beat."""
        return self.null_loss[int(np.argmax(np.sum(self.null_loss <= self.loss, 1)))]

    @property
    def pvalue(self) -> float:
        """The larger p-value of the two kinds of nulls; NaN without nulls."""
        n_nulls = self.null_loss.shape[1]
        if n_nulls == 0:
            return float("nan")
        return float(1 + np.sum(self.deciding_loss <= self.loss)) / (1 + n_nulls)

    @property
    def spread(self) -> float:
        """SD of the null losses within their kinds."""
        if self.null_loss.shape[1] < 2:
            return _DEFAULT_SPREAD
        return float(np.sqrt(self.null_loss.var(1, ddof=1).mean()))

    def is_ambiguous(self, optima: Starts) -> bool:
        """Whether another optimum disagrees with the best and its loss is within the tolerance."""
        chosen = optima.loss[int(np.argmax(optima.agreement))]
        near = optima.loss <= chosen + _TOLERANCE * self.spread
        return bool(np.any(near & (optima.agreement < _AGREES)))


def null_test(
    x: FloatArray,
    y: FloatArray,
    settings: Settings,
    n_nulls: int,
    rng: np.random.Generator,
    step: Callable[[], object],
) -> NullTest:
    """Search the data and `n_nulls` rearranged copies of each side, on at most 500 cells and a coreset of them."""
    cells = [_subsample(side, rng) for side in (x, y)]
    # a null is made of the rows as each metric sees them
    rows = [[reduced(prepare(side, metric)) for metric in settings.metrics] for side in cells]
    observed = [_side(views, settings, rng) for views in rows]
    loss = _best_loss(observed[0], observed[1], settings, rng)
    null_loss = np.empty((2, n_nulls))
    for i in range(n_nulls):
        for kind, destroyed in enumerate((1, 0)):
            null = _side(_rearranged_views(rows[destroyed], rng), settings, rng)
            sides = (observed[0], null) if destroyed == 1 else (null, observed[1])
            null_loss[kind, i] = _best_loss(*sides, settings, rng)
            step()
    return NullTest(loss, null_loss)


def _rearranged_views(views: list[FloatArray], rng: np.random.Generator) -> list[FloatArray]:
    """Destroy all views in the same way: one state of the generator, one rearrangement of equal rows."""
    seed = int(rng.integers(2**63 - 1))
    return [rearranged(view, np.random.default_rng(seed)) for view in views]


def _side(views: list[FloatArray], settings: Settings, rng: np.random.Generator) -> Side:
    points = [
        embed(view, metric, n_neighbors=settings.n_neighbors, prepared=True, rng=rng).points
        for view, metric in zip(views, settings.metrics, strict=True)
    ]
    summary = coreset(np.concatenate(points, 1), _CORESET_SIZE, rng)
    return make_side([summary.means(p) for p in points], summary.weight, settings.device)


def _best_loss(x: Side, y: Side, settings: Settings, rng: np.random.Generator) -> float:
    with one_thread():
        return float(search(Problem(x, y), settings.epsilon, settings.n_starts, rng, rounds=1).loss[0])


def _subsample(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    return x if len(x) <= _N_CELLS else x[np.sort(rng.choice(len(x), _N_CELLS, replace=False))]
