"""Does the map hang on one batch? The map of a subset of the cells, refitted without each batch in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from saescape._threads import one_thread

from ._nulls import reduced
from ._reduced import prepared_views, small_side, some_cells
from ._relaxed import make_problem
from ._search import agreement, barycentric, search
from ._significance import loss_tolerance
from ._solver import solve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from saescape._typing import FloatArray, IntArray

    from ._align import Settings
    from ._coreset import Coreset
    from ._joint import JointCost
    from ._sparse_rows import Rows

_MIN_CELLS = 4
MAX_REFITS = 20


@dataclass(frozen=True)
class LeaveOut:
    """A refit without some batches of one side (0 the query, 1 the reference).

    `agreement` is the correlation of barycentric projections with those of the full map, on the query cells that both
    have: of the refit's optima of about the same loss the one that agrees most. `random_agreement` is the same when as
    many cells of the side, drawn at random, are left out; `same_label` is the share of these cells with the same label,
    one for each kind of label. All are NaN where fewer than 4 cells are left, or copies of one.
    """

    side: int
    batches: IntArray
    loss: float
    agreement: float
    random_agreement: float
    same_label: list[float]


def groups_of_batches(n_batches: int, rng: np.random.Generator) -> list[IntArray]:
    """Each batch on its own, or 20 random groups of about equal number when there are more."""
    if n_batches <= MAX_REFITS:
        return [np.array([batch]) for batch in range(n_batches)]
    return [np.sort(group) for group in np.array_split(rng.permutation(n_batches), MAX_REFITS)]


@dataclass(frozen=True)
class FullMap:
    """The map that the refits are compared with.

    `sides` are the rows of the query `(n, d)` and the reference `(m, e)`, `targets` values of the reference `(m, k)`:
    what is projected first, then one-hot labels. `projections` are their conditional means `(n, k)` under the map.
    """

    sides: tuple[Rows, Rows]
    targets: Sequence[FloatArray]
    projections: Sequence[FloatArray]
    settings: Settings
    joint: JointCost | None = None

    def take(self, query: IntArray, reference: IntArray) -> FullMap:
        """The map of some cells, in no more dimensions than there are cells."""
        return FullMap(
            (reduced(self.sides[0][query]), reduced(self.sides[1][reference])),
            [target[reference] for target in self.targets],
            [projection[query] for projection in self.projections],
            self.settings,
            None if self.joint is None else self.joint.take(query, reference),
        )


def leave_out(
    full: FullMap,
    batches: tuple[IntArray | None, IntArray | None],
    rng: np.random.Generator,
    step: Callable[[], object],
) -> list[LeaveOut]:
    """Refit the map without each batch of each side, on at most 800 cells of each side and a coreset of them.

    `batches` are codes from 0, None for a side without batches; `step` is called after each of two refits per batch.
    """
    picked = [some_cells(len(rows), batch, rng) for rows, batch in zip(full.sides, batches, strict=True)]
    part = full.take(*picked)
    found = []
    for side, batch in enumerate(batches):
        if batch is None:
            continue
        codes = batch[picked[side]]
        for group in groups_of_batches(int(batch.max()) + 1, rng):
            gone = np.isin(codes, group)
            refits = []
            for without in (gone, rng.permutation(gone)):
                cells = [np.arange(len(index)) for index in picked]
                cells[side] = np.flatnonzero(~without)
                refits.append(_refit(part, cells, rng))
                step()
            (loss, agrees, labels), (_, random_agrees, _) = refits
            found.append(LeaveOut(side, group, loss, agrees, random_agrees, labels))
    return found


def _refit(full: FullMap, cells: Sequence[IntArray], rng: np.random.Generator) -> tuple[float, float, list[float]]:
    """Loss, agreement of the projections with the full map's, and shares of equal labels, on the cells given."""
    missing = np.nan, np.nan, [np.nan] * (len(full.targets) - 1)
    if min(len(index) for index in cells) < _MIN_CELLS:
        return missing
    settings, joint = full.settings, full.joint
    factors = (None, None) if joint is None else (joint.x[cells[0]], joint.y[cells[1]])
    try:
        (x, of_cell), (y, of_ref) = (
            small_side(prepared_views(rows[index], settings), settings, rng, factor)
            for rows, index, factor in zip(full.sides, cells, factors, strict=True)
        )
    except ValueError:
        # the cells that are left are all the same
        return missing
    problem = make_problem(x, y, settings.alpha, settings.penalty)
    with one_thread():
        found = search(problem, settings.epsilon, settings.n_starts, rng, rounds=1)
        ends = solve(problem, found.cross, settings.epsilon, epsilon_start=max(settings.epsilon, 0.2))
    loss = ends.loss[int(ends.objective.argmin())]
    near = ends.loss <= loss + loss_tolerance(min(len(index) for index in cells))
    plans = ends.plan[near].double().cpu()
    moved = [_projected(plans, of_cell, of_ref, target[cells[1]]) for target in full.targets]
    known = [torch.from_numpy(p[cells[0]]).double() for p in full.projections]
    weight = torch.full((len(cells[0]),), 1 / len(cells[0]), dtype=torch.float64)
    agrees = agreement(moved[0], known[0], weight)
    # another optimum of about the same loss is no effect of the batch: that is what the ambiguity says
    best = int(agrees.argmax())
    same = [
        float((a[best].argmax(1) == b.argmax(1)).double().mean()) for a, b in zip(moved[1:], known[1:], strict=True)
    ]
    return float(loss), float(agrees[best]), same


def _projected(plans: torch.Tensor, of_cell: Coreset, of_ref: Coreset, values: FloatArray) -> torch.Tensor:
    """Mean of the reference's values `(b, n, k)` for each cell under each plan between coresets."""
    return barycentric(plans, torch.from_numpy(of_ref.means(values)).double())[:, of_cell.label]
