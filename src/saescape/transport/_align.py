"""From two representations to a coupling of all cells, by the fast solver or by POT (arrays only)."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np
import torch

from saescape._threads import one_thread

from ._coreset import coreset
from ._distortion import dense_distortion, distortion, distortion_target
from ._embedding import dense_costs, embed
from ._plan import FactoredPlan
from ._pot import pot_entropic
from ._problem import make_side
from ._readout import read_plan
from ._relaxed import make_problem
from ._search import agreement, barycentric, search
from ._solver import solve
from ._starts import starting_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from saescape._typing import FloatArray

    from ._joint import JointCost
    from ._problem import Problem
    from ._readout import Readout
    from ._sparse_rows import Rows

_SEARCH_SIZE = 192
SOLVE_SIZE = 1000
_N_REFINED = 3
_HOT = 0.25


@dataclass(frozen=True)
class Settings:
    """How costs are made and the problem is solved; `epsilon` in units of the SD of the pairwise costs.

    `alpha` is the weight of the structure where there is a cost of labels too, `penalty` that of the divergence of each
    side's marginal from the given one.
    """

    metrics: tuple[str, ...]
    n_neighbors: int | None
    epsilon: float
    n_starts: int
    n_landmarks: int | None = None
    device: str | torch.device = "cpu"
    alpha: float = 1.0
    penalty: tuple[float, float] = (inf, inf)


@dataclass(frozen=True)
class Starts:
    """Losses of several solutions of one problem, and the agreement of each with the chosen one."""

    kinds: list[str]
    loss: FloatArray
    agreement: FloatArray


@dataclass(frozen=True)
class Alignment:
    """A coupling and how it was found: all starts, and the best distinct optima at one and the same resolution.

    `loss` is that of the structure, `distortion` `(n,)` each cell's share of it; `joint_cost` the mean cost of the
    labels of coupled cells, 0 for independence.
    """

    readout: Readout
    loss: float
    distortion: FloatArray
    converged: bool
    starts: Starts
    optima: Starts
    n_links: tuple[int, int]
    joint_cost: float = 0.0


def _ignore(phase: str = "") -> None:
    """Report no progress."""


def align(
    x: Rows,
    y: Rows,
    settings: Settings,
    targets: Sequence[FloatArray],
    rng: np.random.Generator,
    step: Callable[..., object] = _ignore,
    joint: JointCost | None = None,
) -> Alignment:
    """Couple all cells of `x` and `y`: embed, search on a coreset, refine the best optima, extend to all cells.

    `step` is called after each of these with what comes next.
    """
    problem, views, n_links = _embed_sides(x, y, settings, rng, joint)
    step("searching")
    small = _summary(views, _SEARCH_SIZE, settings, rng, joint)
    with one_thread():
        found = search(small, settings.epsilon, settings.n_starts, rng)
    step("extending to all cells")
    core = _summary(views, settings.n_landmarks or SOLVE_SIZE, settings, rng, joint)
    refined = [
        solve(core, cross[None], settings.epsilon, epsilon_start=max(settings.epsilon, 0.2))
        for cross in found.cross[:_N_REFINED]
    ]
    best = int(np.argmin([float(r.objective[0]) for r in refined]))
    plan = FactoredPlan(problem, core, refined[best], settings.epsilon)
    settled = plan.polish()
    step("reading the plan")
    mass = plan.marginals()
    extended = [*targets, distortion_target(problem.y, mass[1])]
    readout = read_plan(plan.blocks(), plan.shape, extended, mass)
    distorted = distortion(problem.x, problem.y, *mass, readout.projections.pop())
    step("testing")

    moved = torch.cat([barycentric(r.plan, core.y.points) for r in refined])
    starts = agreement(found.start_projection, found.projection[best], small.x.weight)
    return Alignment(
        readout=readout,
        loss=plan.loss,
        distortion=distorted,
        converged=settled,
        starts=Starts(found.kinds, _numpy(found.start_loss), _numpy(starts)),
        optima=Starts(
            ["optimum"] * len(refined),
            _numpy(torch.cat([r.loss for r in refined])),
            _numpy(agreement(moved, moved[best], core.x.weight)),
        ),
        n_links=n_links,
        joint_cost=plan.joint_cost,
    )


def align_pot(
    x: Rows,
    y: Rows,
    settings: Settings,
    targets: Sequence[FloatArray],
    rng: np.random.Generator,
    step: Callable[..., object] = _ignore,
    joint: JointCost | None = None,
) -> Alignment:
    """Couple all cells with POT's dense entropic solver, from the same kinds of starts."""
    problem, views, _ = _embed_sides(x, y, settings, rng, joint)
    (cost_x, links_x), (cost_y, links_y) = (
        dense_costs(side, settings.metrics[0], n_neighbors=settings.n_neighbors, rng=rng) for side in (x, y)
    )
    step()
    starts, kinds = starting_points(_summary(views, _SEARCH_SIZE, settings, rng, joint), settings.n_starts, rng)
    labels = None if joint is None else joint.x.astype(np.float64) @ joint.y.T
    results = []
    for start, kind in zip(starts, kinds, strict=True):
        first = None if kind == "product" else _plan_from(problem, start)
        results.append(pot_entropic(cost_x, cost_y, settings.epsilon, start=first, labels=labels, alpha=settings.alpha))
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
        distortion=dense_distortion(cost_x, cost_y, results[best].plan),
        converged=results[best].converged,
        starts=starts_found,
        optima=starts_found,
        n_links=(links_x, links_y),
        joint_cost=0.0 if labels is None else float(np.sum(labels * results[best].plan)),
    )


def _embed_sides(
    x: Rows, y: Rows, settings: Settings, rng: np.random.Generator, joint: JointCost | None
) -> tuple[Problem, tuple[list[FloatArray], list[FloatArray]], tuple[int, int]]:
    views: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    links = [0, 0]
    for i, side in enumerate((x, y)):
        for metric in settings.metrics:
            embedding = embed(side, metric, n_neighbors=settings.n_neighbors, rng=rng)
            views[i].append(embedding.points)
            links[i] = max(links[i], embedding.n_links)
    labels = (None, None) if joint is None else (joint.x, joint.y)
    sides = [make_side(v, None, settings.device, label) for v, label in zip(views, labels, strict=True)]
    return make_problem(sides[0], sides[1], settings.alpha, settings.penalty), views, (links[0], links[1])


def _summary(
    views: tuple[list[FloatArray], list[FloatArray]],
    size: int,
    settings: Settings,
    rng: np.random.Generator,
    joint: JointCost | None,
) -> Problem:
    """The problem on a coreset of each side."""
    sides = []
    for side, labels in zip(views, (None, None) if joint is None else (joint.x, joint.y), strict=True):
        summary = coreset(np.concatenate(side, 1), size, rng)
        factor = None if labels is None else summary.means(labels)
        sides.append(make_side([summary.means(v) for v in side], summary.weight, settings.device, factor))
    return make_problem(sides[0], sides[1], settings.alpha, settings.penalty)


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
