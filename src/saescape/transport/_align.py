"""From two representations to a coupling of all cells, by the fast solver or by POT (arrays only)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from saescape._threads import one_thread

from ._coreset import coreset
from ._embedding import dense_costs, embed
from ._plan import FactoredPlan
from ._pot import pot_entropic
from ._problem import Problem, make_side
from ._readout import read_plan
from ._search import agreement, search
from ._solver import solve
from ._starts import starting_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from saescape._typing import FloatArray

    from ._readout import Readout

_SEARCH_SIZE = 192
_SOLVE_SIZE = 1000
_N_REFINED = 3
_HOT = 0.25


@dataclass(frozen=True)
class Settings:
    """How costs are made and the problem is solved; `epsilon` in units of the SD of the pairwise costs."""

    metrics: tuple[str, ...]
    n_neighbors: int | None
    epsilon: float
    n_starts: int
    n_landmarks: int | None = None
    device: str | torch.device = "cpu"


@dataclass(frozen=True)
class Starts:
    """Losses of several solutions of one problem, and the agreement of each with the chosen one."""

    kinds: list[str]
    loss: FloatArray
    agreement: FloatArray


@dataclass(frozen=True)
class Alignment:
    """A coupling and how it was found: all starts, and the best distinct optima at one and the same resolution."""

    readout: Readout
    loss: float
    converged: bool
    starts: Starts
    optima: Starts
    n_links: tuple[int, int]


def _ignore() -> None:
    """Report no progress."""


def align(
    x: FloatArray,
    y: FloatArray,
    settings: Settings,
    targets: Sequence[FloatArray],
    rng: np.random.Generator,
    step: Callable[[], object] = _ignore,
) -> Alignment:
    """Couple all cells of `x` and `y`: embed, search on a coreset, refine the best optima, extend to all cells."""
    problem, views, n_links = _embed_sides(x, y, settings, rng)
    step()
    small = _summary(views, _SEARCH_SIZE, settings, rng)
    with one_thread():
        found = search(small, settings.epsilon, settings.n_starts, rng)
    step()
    core = _summary(views, settings.n_landmarks or _SOLVE_SIZE, settings, rng)
    refined = [
        solve(core, cross[None], settings.epsilon, epsilon_start=max(settings.epsilon, 0.2))
        for cross in found.cross[:_N_REFINED]
    ]
    best = int(np.argmin([float(r.objective[0]) for r in refined]))
    plan = FactoredPlan(problem, core, refined[best], settings.epsilon)
    settled = plan.polish()
    step()
    readout = read_plan(plan.blocks(), plan.shape, targets)
    step()

    moved = torch.cat([r.plan @ core.y.points / core.x.weight[:, None] for r in refined])
    starts = agreement(found.start_projection, found.projection[best], small.x.weight)
    return Alignment(
        readout=readout,
        loss=plan.loss,
        converged=settled,
        starts=Starts(found.kinds, _numpy(found.start_loss), _numpy(starts)),
        optima=Starts(
            ["optimum"] * len(refined),
            _numpy(torch.cat([r.loss for r in refined])),
            _numpy(agreement(moved, moved[best], core.x.weight)),
        ),
        n_links=n_links,
    )


def align_pot(
    x: FloatArray,
    y: FloatArray,
    settings: Settings,
    targets: Sequence[FloatArray],
    rng: np.random.Generator,
    step: Callable[[], object] = _ignore,
) -> Alignment:
    """Couple all cells with POT's dense entropic solver, from the same kinds of starts."""
    problem, views, _ = _embed_sides(x, y, settings, rng)
    (cost_x, links_x), (cost_y, links_y) = (
        dense_costs(side, settings.metrics[0], n_neighbors=settings.n_neighbors, rng=rng) for side in (x, y)
    )
    step()
    starts, kinds = starting_points(_summary(views, _SEARCH_SIZE, settings, rng), settings.n_starts, rng)
    results = []
    for start, kind in zip(starts, kinds, strict=True):
        first = None if kind == "product" else _plan_from(problem, start)
        results.append(pot_entropic(cost_x, cost_y, settings.epsilon, start=first))
        step()
    best = int(np.argmin([r.objective for r in results]))
    blocks = _dense_blocks(results[best].plan)
    readout = read_plan(blocks, results[best].plan.shape, targets)
    points = problem.y.points.cpu().numpy()
    projections = torch.stack([torch.from_numpy(r.plan @ points * len(x)) for r in results]).float()
    agreements = agreement(projections, projections[best], problem.x.weight.cpu())
    starts_found = Starts(kinds, np.array([r.loss for r in results]), _numpy(agreements))
    return Alignment(
        readout=readout,
        loss=results[best].loss,
        converged=results[best].converged,
        starts=starts_found,
        optima=starts_found,
        n_links=(links_x, links_y),
    )


def _embed_sides(
    x: FloatArray, y: FloatArray, settings: Settings, rng: np.random.Generator
) -> tuple[Problem, tuple[list[FloatArray], list[FloatArray]], tuple[int, int]]:
    views: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    links = [0, 0]
    for i, side in enumerate((x, y)):
        for metric in settings.metrics:
            embedding = embed(side, metric, n_neighbors=settings.n_neighbors, rng=rng)
            views[i].append(embedding.points)
            links[i] = max(links[i], embedding.n_links)
    sides = [make_side(v, device=settings.device) for v in views]
    return Problem(*sides), views, (links[0], links[1])


def _summary(
    views: tuple[list[FloatArray], list[FloatArray]], size: int, settings: Settings, rng: np.random.Generator
) -> Problem:
    """The problem on a coreset of each side."""
    sides = []
    for side in views:
        summary = coreset(np.concatenate(side, 1), size, rng)
        sides.append(make_side([summary.means(v) for v in side], summary.weight, settings.device))
    return Problem(*sides)


def _numpy(values: torch.Tensor) -> FloatArray:
    return values.cpu().numpy().astype(np.float64)


def _plan_from(problem: Problem, cross: torch.Tensor) -> FloatArray:
    """Plan of one linear transport problem with the cost at `cross`, float64 with exact column marginals."""
    plan = solve(problem, cross[None], _HOT, max_iter=1, n_sinkhorn=50).plan[0].double().cpu().numpy()
    for _ in range(50):
        plan /= plan.sum(1, keepdims=True) * len(plan)
        plan /= plan.sum(0, keepdims=True) * plan.shape[1]
    return plan


def _dense_blocks(plan: FloatArray, size: int = 1024) -> Iterator[tuple[int, torch.Tensor]]:
    for start in range(0, len(plan), size):
        yield start, torch.from_numpy(plan[start : start + size]).float()
