"""Many starts on a small coreset: the distinct optima, best first, and what became of each start."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch

from ._solver import solve
from ._starts import starting_points, symmetry_moves

if TYPE_CHECKING:
    import numpy as np

    from ._problem import Problem

_ROUNDS = 2
# plans whose cross matrices have a higher cosine are the same optimum
_SAME = 0.9
_SAME_HOT = 0.98
_KEEP = 4
# entries of one batch of plans
_MAX_BATCH = 16 * 2**20


@dataclass(frozen=True)
class SearchResult:
    """Distinct optima, best first, then the ends of the starts.

    `cross`, `objective`, `loss` and `projection` `(n_optima, n, r)` are of the distinct optima; `start_loss` and
    `start_projection` of the starts, whose kinds are in `kinds`.
    """

    cross: torch.Tensor
    objective: torch.Tensor
    loss: torch.Tensor
    projection: torch.Tensor
    kinds: list[str]
    start_loss: torch.Tensor
    start_projection: torch.Tensor


def search(
    problem: Problem, epsilon: float, n_starts: int, rng: np.random.Generator, *, rounds: int = _ROUNDS
) -> SearchResult:
    """Anneal every start, keep the distinct optima, then try symmetry moves of the best until none is better."""
    hot = max(epsilon, 0.25)
    starts, kinds = starting_points(problem, n_starts, rng)
    warm = _batched(problem, starts, hot, max_iter=10, n_sinkhorn=3, epsilon_start=max(0.6, hot), decay=0.85)
    # starts that have met by now end in the same optimum: follow one of them
    leaders, member = _groups(warm.cross, warm.objective)
    ends = _batched(
        problem, warm.cross[leaders], epsilon, max_iter=30, n_sinkhorn=60, epsilon_start=hot, warm=warm.take(leaders)
    )
    optima = ends.take(distinct(ends.cross, ends.objective, _KEEP))
    for _ in range(rounds):
        moves = symmetry_moves(problem, optima.cross[0])
        if len(moves) == 0:
            break
        best = float(optima.objective[0])
        moved = _batched(problem, moves, epsilon, max_iter=14, n_sinkhorn=5, epsilon_start=max(epsilon, 0.2))
        both = optima.join(moved)
        optima = both.take(distinct(both.cross, both.objective, _KEEP))
        if float(optima.objective[0]) > best - 1e-4:
            break
    # the many moves were compared with inexact marginals: settle the few that are left, which may merge or swap ranks
    settled = _batched(problem, optima.cross, epsilon, max_iter=20, n_sinkhorn=100, epsilon_start=epsilon, warm=optima)
    optima = settled.take(distinct(settled.cross, settled.objective, _KEEP))
    return SearchResult(
        optima.cross,
        optima.objective,
        optima.loss,
        optima.projection,
        kinds,
        ends.loss[member],
        ends.projection[member],
    )


def agreement(projections: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Correlation of barycentric projections `(b, n, r)` with one `(n, r)`, over cells and axes together."""
    w = weight[:, None]
    centred = projections - (projections * w).sum(-2, keepdim=True)
    other = reference - (reference * w).sum(0)
    product = (centred * other * w).sum((-1, -2))
    size = ((centred**2 * w).sum((-1, -2)) * (other**2 * w).sum()).sqrt()
    # two projections to one point agree
    return torch.where(size > 1e-12, product / size.clamp(min=1e-12), torch.ones_like(size))


def barycentric(plan: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Each row's mean point under the plan `(b, n, r)`."""
    return plan @ points / plan.sum(-1, keepdim=True).clamp(min=1e-30)


def distinct(cross: torch.Tensor, objective: torch.Tensor, n_keep: int, same: float = _SAME) -> list[int]:
    """Indices of the best solutions that differ from each better one."""
    unit = _unit(cross)
    keep: list[int] = []
    for i in torch.argsort(objective, stable=True).tolist():
        if all(float(unit[i] @ unit[j]) < same for j in keep):
            keep.append(i)
        if len(keep) == n_keep:
            break
    return keep


def _groups(cross: torch.Tensor, objective: torch.Tensor) -> tuple[list[int], torch.Tensor]:
    leaders = distinct(cross, objective, len(cross), _SAME_HOT)
    unit = _unit(cross)
    return leaders, (unit @ unit[leaders].T).argmax(1)


def _unit(cross: torch.Tensor) -> torch.Tensor:
    flat = cross.flatten(1)
    return flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)


@dataclass(frozen=True)
class _Ends:
    cross: torch.Tensor
    objective: torch.Tensor
    loss: torch.Tensor
    projection: torch.Tensor
    f: torch.Tensor
    g: torch.Tensor

    def take(self, index: list[int]) -> _Ends:
        return _Ends(*(getattr(self, field.name)[index] for field in fields(self)))

    def join(self, other: _Ends) -> _Ends:
        return _Ends(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


def _batched(
    problem: Problem,
    cross: torch.Tensor,
    epsilon: float,
    *,
    max_iter: int,
    n_sinkhorn: int,
    epsilon_start: float,
    decay: float = 0.8,
    warm: _Ends | None = None,
) -> _Ends:
    """Solve in batches of bounded memory; of the plans only the projections are kept."""
    size = max(1, _MAX_BATCH // (len(problem.x) * len(problem.y)))
    ends: _Ends | None = None
    for s in range(0, len(cross), size):
        block = slice(s, s + size)
        end = solve(
            problem,
            cross[block],
            epsilon,
            epsilon_start=epsilon_start,
            decay=decay,
            max_iter=max_iter,
            n_sinkhorn=n_sinkhorn,
            f=None if warm is None else warm.f[block],
            g=None if warm is None else warm.g[block],
        )
        projection = barycentric(end.plan, problem.y.points)
        part = _Ends(end.cross, end.objective, end.loss, projection, end.f, end.g)
        ends = part if ends is None else ends.join(part)
    if ends is None:
        msg = "there is no start to solve from"
        raise ValueError(msg)
    return ends
