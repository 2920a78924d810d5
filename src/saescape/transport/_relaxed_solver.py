"""Annealed iterations for Gromov-Wasserstein with relaxed marginals, batched over starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ._problem import Moments
from ._solution import MARGINAL_TOL, N_WARM, Solutions

if TYPE_CHECKING:
    from ._problem import State
    from ._relaxed import Relaxation, RelaxedProblem

# bounds on what rounding makes of a small epsilon with a small penalty
_MAX_LOG, _MAX_SCALING = 25.0, 1e12
# a step that raises the objective by more than this is taken back: at the final epsilon, and on the way there, where
# the marginals, and so the objective, are inexact
_WORSE, _WORSE_HOT = 5e-3, 0.5
_RISE = 1e-4
_MIN_SCALINGS = 20
_MAX_TAU = 1e3


def solve_relaxed(
    problem: RelaxedProblem,
    cross: torch.Tensor,
    epsilon: float,
    *,
    epsilon_start: float,
    decay: float,
    max_iter: int,
    n_sinkhorn: int,
    tol: float,
    f: torch.Tensor,
    g: torch.Tensor,
) -> Solutions:
    """As `solve`, for a problem whose marginals have a price.

    The first step keeps the marginals, because a cross matrix does not tell what relaxing them would cost. With free
    marginals the loss is not concave and a linearisation may promise too much, up to a plan that shrinks to a few
    cells: marginals are held near those of the last plan by a term ``tau KL``, which vanishes where they are best.
    `tau` is raised when the objective rises, and a step that raises it much is taken back, each start on its own.
    """
    e = max(epsilon, epsilon_start)
    state: State = cross
    best: Solutions | None = None
    limit = _WORSE_HOT
    log_ratios = torch.zeros_like(f), torch.zeros_like(g)
    tau = f.new_ones(len(f))
    converged = False
    iteration = 0
    for iteration in range(1, max_iter + 1):
        relaxations = problem.relaxations(e, tau, log_ratios, fixed=best is None)
        n_scalings = max(n_sinkhorn, _MIN_SCALINGS) if e <= epsilon else min(n_sinkhorn, N_WARM)
        plan, potentials, found = _transport(problem.cost(state), relaxations, (f, g), e, n_scalings)
        new, loss = problem.measure(plan)
        objective = problem.objective(plan, loss, e) + problem.price(found)
        step = Solutions(plan, new, objective, loss, *potentials, converged, iteration)
        if best is None:
            rose = torch.zeros_like(tau, dtype=torch.bool)
            taken = ~rose
            change = torch.full_like(tau, torch.inf)
            best = step
        else:
            taken, rose = objective <= best.objective + limit, objective > best.objective + _RISE
            change = torch.where(taken, (loss - best.loss).abs(), torch.where(tau > _MAX_TAU, 0.0, torch.inf))
            best = _where(taken, step, best)
        log_ratios = (
            torch.where(taken[:, None], found[0], log_ratios[0]),
            torch.where(taken[:, None], found[1], log_ratios[1]),
        )
        tau = torch.where(taken, torch.where(rose, 2 * tau + 0.1, tau / 2), 4 * tau + 1)
        state, f, g = best.state, best.f, best.g
        if e > epsilon:
            e = max(epsilon, e * decay)
            continue
        limit = _WORSE
        if float(change.max()) < tol:
            converged = True
            break
    if best is None:
        msg = "at least one iteration is needed"
        raise ValueError(msg)
    return Solutions(best.plan, best.state, best.objective, best.loss, best.f, best.g, converged, iteration)


def _transport(
    cost: torch.Tensor,
    relaxations: tuple[Relaxation, Relaxation],
    potentials: tuple[torch.Tensor, torch.Tensor],
    epsilon: float,
    n_scalings: int,
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Plan for a linear cost, its potentials, and the logarithms of its marginals' ratios to the weights."""
    rows, columns = relaxations
    f, g = potentials
    log_a, log_b = rows.weight.log()[:, None], columns.weight.log()[None]
    for _ in range(2):
        sums = torch.logsumexp((f[:, :, None] - cost) / epsilon + log_a, 1)
        g = epsilon * (columns.log_ratio(sums) - sums)
        sums = torch.logsumexp((g[:, None, :] - cost) / epsilon + log_b, 2)
        f = epsilon * (rows.log_ratio(sums) - sums)
    kernel = torch.exp(((f[:, :, None] + g[:, None, :] - cost) / epsilon).clamp(max=_MAX_LOG))
    u, v, log_ratios = scale_relaxed(kernel, (rows, -f / epsilon), (columns, -g / epsilon), n_scalings)
    plan = kernel * (u * rows.weight)[:, :, None] * (v * columns.weight)[:, None, :]
    plan = plan / plan.sum((1, 2), keepdim=True).clamp(min=1e-30)
    return plan, (f + epsilon * u.log(), g + epsilon * v.log()), log_ratios


def scale_relaxed(
    kernel: torch.Tensor,
    rows: tuple[Relaxation, torch.Tensor],
    columns: tuple[Relaxation, torch.Tensor],
    max_iter: int,
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Sinkhorn scalings `(b, n)`, `(b, m)` for relaxed marginals of mass one, and the marginals' log-ratios.

    Each side comes with the logarithm `(b, n)` of what its present potential has left out of the kernel's sums.
    """
    (relax_x, shift_x), (relax_y, shift_y) = rows, columns
    a, b = relax_x.weight, relax_y.weight
    u, v = kernel.new_ones(kernel.shape[:2]), kernel.new_ones(len(kernel), kernel.shape[2])
    log_x = torch.zeros_like(u)
    for i in range(max(1, max_iter)):
        sums = ((u * a)[:, None] @ kernel)[:, 0].clamp(min=1e-30)
        log_y = relax_y.log_ratio(sums.log() + shift_y)
        if i % 10 == 9 and float((b * (v * sums - log_y.exp()).abs()).sum(1).max()) < MARGINAL_TOL:
            break
        v = (log_y.exp() / sums).clamp(1 / _MAX_SCALING, _MAX_SCALING)
        sums = (kernel @ (v * b)[:, :, None])[:, :, 0].clamp(min=1e-30)
        log_x = relax_x.log_ratio(sums.log() + shift_x)
        u = (log_x.exp() / sums).clamp(1 / _MAX_SCALING, _MAX_SCALING)
    return u, v, (log_x, log_y)


def _where(mask: torch.Tensor, first: Solutions, second: Solutions) -> Solutions:
    """The first solutions where `mask` holds, the second elsewhere."""
    state = first.state
    if isinstance(state, Moments) and isinstance(second.state, Moments):
        state = state.where(mask, second.state)
    values = {}
    for name in ("plan", "objective", "loss", "f", "g"):
        mine, theirs = getattr(first, name), getattr(second, name)
        values[name] = torch.where(mask.view(-1, *[1] * (mine.ndim - 1)), mine, theirs)
    return Solutions(state=state, converged=False, n_iter=first.n_iter, **values)
