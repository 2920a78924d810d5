"""Is there anything to align, and is the alignment identified? The same search on unrelated clouds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saescape._threads import one_thread

from ._nulls import gaussian_cloud, reduced, smooth_images
from ._pieces import rearranged_pieces
from ._reduced import prepared_views, small_side, some_cells
from ._relaxed import make_problem
from ._search import search

if TYPE_CHECKING:
    from collections.abc import Callable

    from saescape._typing import FloatArray, IntArray

    from ._align import Settings, Starts
    from ._joint import JointCost
    from ._problem import Side
    from ._sparse_rows import Rows

# an optimum that agrees more than this is the same map for every practical purpose
_AGREES = 0.8
# an optimum counts as near when its loss is higher by no more than this, or than 1 / sqrt(n) in small data, where the
# sampling of the cells moves the losses by more
_TOLERANCE = 0.05
_KINDS = ("smooth", "gaussian", "pieces")
# times that cells are drawn from each side
_N_DRAWS = 5
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


def loss_tolerance(n_cells: int) -> float:
    """By how much a loss may be higher and count as about the same; `n_cells` of the smaller side."""
    return max(_TOLERANCE, n_cells**-0.5)


def is_ambiguous(optima: Starts, n_cells: int) -> bool:
    """Whether another optimum of about the same loss disagrees with the chosen one; `n_cells` of the smaller side."""
    chosen = optima.loss[int(np.argmax(optima.agreement))]
    near = optima.loss <= chosen + loss_tolerance(n_cells)
    return bool(np.any(near & (optima.agreement < _AGREES)))


def null_test(
    x: Rows,
    y: Rows,
    settings: Settings,
    n_nulls: int,
    rng: np.random.Generator,
    step: Callable[[], object],
    batches: tuple[IntArray | None, IntArray | None] = (None, None),
    joint: JointCost | None = None,
) -> NullTest:
    """Search the data and `n_nulls` nulls of each kind for each side, on at most 800 cells and a coreset of them.

    Which cells are drawn moves the loss by as much as the nulls differ among each other. The loss of the data is the
    median of five draws, and nulls are made from each of these in turn.

    Of the batches (codes of the cells of each side), each takes part in proportion to its cells. With a cost of labels
    the loss compared is still that of the structure alone, given the labels: in images of the cells these keep their
    labels, in normal clouds they have random ones.
    """
    drawn = [_drawn(x, y, settings, batches, joint, rng) for _ in range(_N_DRAWS if n_nulls else 1)]
    loss = float(np.median([_best_loss(*draw.sides, settings, rng) for draw in drawn]))
    null_loss = np.empty((len(NULLS), n_nulls))
    for i in range(n_nulls):
        draw = drawn[i % _N_DRAWS]
        losses = []
        for kind in _KINDS:
            for replaced in (1, 0):
                sides = list(draw.sides)
                views, origin = _null_views(kind, draw.cells[replaced], settings, rng)
                factor = draw.labels[replaced]
                factor = None if factor is None else factor[origin]
                sides[replaced] = small_side(views, settings, rng, factor)[0]
                losses.append(_best_loss(sides[0], sides[1], settings, rng))
                step()
        null_loss[:, i] = losses
    return NullTest(loss, null_loss)


@dataclass(frozen=True)
class _Draw:
    """Some cells of each side, their factors of the cost of labels, and their coresets."""

    cells: tuple[FloatArray, FloatArray]
    labels: tuple[FloatArray | None, FloatArray | None]
    sides: tuple[Side, Side]


def _drawn(
    x: Rows,
    y: Rows,
    settings: Settings,
    batches: tuple[IntArray | None, IntArray | None],
    joint: JointCost | None,
    rng: np.random.Generator,
) -> _Draw:
    index = [some_cells(len(side), codes, rng) for side, codes in zip((x, y), batches, strict=True)]
    cells = (reduced(x[index[0]]), reduced(y[index[1]]))
    labels = (None, None) if joint is None else (joint.x[index[0]], joint.y[index[1]])
    left, right = (
        small_side(prepared_views(side, settings), settings, rng, f)[0] for side, f in zip(cells, labels, strict=True)
    )
    return _Draw(cells, labels, (left, right))


def _null_views(
    kind: str, x: FloatArray, settings: Settings, rng: np.random.Generator
) -> tuple[list[FloatArray], IntArray]:
    """Rows of an unrelated cloud as each metric sees them, and the cell whose labels each row has."""
    if kind == "gaussian":
        # the rows are independent draws: labels in any order are labels at random
        return prepared_views(gaussian_cloud(x, rng), settings), np.arange(len(x))
    images = rearranged_pieces if kind == "pieces" else smooth_images
    return images(prepared_views(x, settings), rng)


def _best_loss(x: Side, y: Side, settings: Settings, rng: np.random.Generator) -> float:
    with one_thread():
        problem = make_problem(x, y, settings.alpha, settings.penalty)
        return float(search(problem, settings.epsilon, settings.n_starts, rng, rounds=0).loss[0])
