"""Annealed majorise-minimise iterations for entropic Gromov-Wasserstein, batched over starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ._relaxed import RelaxedProblem
from ._relaxed_solver import solve_relaxed
from ._solution import MARGINAL_TOL, N_WARM, Solutions

if TYPE_CHECKING:
    from ._problem import Problem, State


def solve(
    problem: Problem,
    cross: torch.Tensor,
    epsilon: float,
    *,
    epsilon_start: float | None = None,
    decay: float = 0.8,
    max_iter: int = 40,
    n_sinkhorn: int = 100,
    tol: float = 1e-4,
    f: torch.Tensor | None = None,
    g: torch.Tensor | None = None,
) -> Solutions:
    """Minimise loss + `epsilon` * divergence from each start `cross` `(b, r, s)`.

    The quadratic part of the loss is concave in the plan for these costs, so replacing it by its linearisation at the
    present plan and solving the entropic transport problem that remains never increases the objective. Epsilon is
    lowered from `epsilon_start` by `decay` per iteration. Potentials are warm-started and kept in the log domain;
    between two log-domain steps, up to `n_sinkhorn` scaling steps work on the stabilised kernel (Schmitzer 2019).
    """
    x, y = problem.x, problem.y
    batch = len(cross)
    f = cross.new_zeros(batch, len(x)) if f is None else f
    g = cross.new_zeros(batch, len(y)) if g is None else g
    if isinstance(problem, RelaxedProblem):
        return solve_relaxed(
            problem,
            cross,
            epsilon,
            epsilon_start=epsilon_start or epsilon,
            decay=decay,
            max_iter=max_iter,
            n_sinkhorn=n_sinkhorn,
            tol=tol,
            f=f,
            g=g,
        )
    a, b = x.weight[None, :, None], y.weight[None, :, None]
    log_a, log_b = x.weight.log()[:, None], y.weight.log()[None]
    e = max(epsilon, epsilon_start or epsilon)
    state: State = cross
    previous: torch.Tensor | None = None
    converged = False
    iteration = 0
    for iteration in range(1, max_iter + 1):  # noqa: B007
        cost = problem.cost(state)
        for _ in range(2):
            g = -e * torch.logsumexp((f[:, :, None] - cost) / e + log_a, 1)
            f = -e * torch.logsumexp((g[:, None, :] - cost) / e + log_b, 2)
        kernel = torch.exp((f[:, :, None] + g[:, None, :] - cost) / e)
        # on the way down marginals need not be exact; at the end the loss is only as good as they are
        u, v = scale(kernel, a, b, n_sinkhorn if e <= epsilon else min(n_sinkhorn, N_WARM), MARGINAL_TOL)
        f, g = f + e * u[:, :, 0].log(), g + e * v[:, :, 0].log()
        plan = kernel * (u * a) * (v * b).transpose(1, 2)
        state, loss = problem.measure(plan)
        if e > epsilon:
            e = max(epsilon, e * decay)
            continue
        if previous is not None and float((loss - previous).abs().max()) < tol:
            converged = True
            break
        previous = loss
    return Solutions(plan, state, problem.objective(plan, loss, e), loss, f, g, converged, iteration)


def scale(
    kernel: torch.Tensor, a: torch.Tensor, b: torch.Tensor, max_iter: int, tol: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sinkhorn scalings `(b, n, 1)`, `(b, m, 1)` of kernels ``K_ij a_i b_j``: rows exact, columns within `tol` (L1)."""
    u = kernel.new_ones(len(kernel), kernel.shape[1], 1)
    v = kernel.new_ones(len(kernel), kernel.shape[2], 1)
    transposed = kernel.transpose(1, 2)
    for i in range(max_iter):
        columns = transposed @ (u * a)
        if i % 10 == 9 and float((b * (v * columns - 1).abs()).sum(1).max()) < tol:
            break
        v = 1 / columns.clamp(min=1e-30)
        u = 1 / (kernel @ (v * b)).clamp(min=1e-30)
    return u, v
