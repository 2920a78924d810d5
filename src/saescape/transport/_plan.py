"""A coupling of all cells, held as factors and potentials and read block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ._solver import MARGINAL_TOL, scale

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._problem import Problem, Side
    from ._solver import Solutions

# entries of one dense block of the plan
_BLOCK_ENTRIES = 8 * 2**20
# entries of a plan that may be held in memory
_MAX_DENSE = 1e8
# entries that all passes over a larger plan together may compute
_MAX_WORK = 4e9
_N_SCALINGS = 300
# L1 error of the column marginals, and change of the loss between linearisations, that count as settled
_SETTLED_COLUMNS, _SETTLED_LOSS = 2e-2, 5e-4


class FactoredPlan:
    """The plan ``a_i b_j exp((f_i + g_j - c_ij) / epsilon)`` with a cost of low rank: memory linear in the cells.

    Parameters
    ----------
    problem
        All cells of both sides.
    core
        The coreset problem that was solved.
    solution
        Its solution (a batch of one).
    epsilon
        The epsilon it was solved with.
    """

    def __init__(self, problem: Problem, core: Problem, solution: Solutions, epsilon: float) -> None:
        self.problem, self.epsilon = problem, epsilon
        self.cross = solution.cross[0]
        self.g = self._extend(core.x, solution.f[0])
        self.f = torch.zeros_like(problem.x.weight)
        self.column_error = float("inf")
        self.loss = float(solution.loss[0])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.problem.x), len(self.problem.y)

    def _extend(self, core_x: Side, f: torch.Tensor) -> torch.Tensor:
        """Potentials of all columns from those of the coreset's rows."""
        y = self.problem.y
        left = self.problem.left(core_x, self.cross)
        right = torch.cat([y.norms, y.points], 1)
        offset = f / self.epsilon + core_x.weight.log()
        size = max(1, _BLOCK_ENTRIES // len(core_x))
        parts = [
            -self.epsilon * torch.logsumexp(left @ right[s : s + size].T / self.epsilon + offset[:, None], 0)
            for s in range(0, len(y), size)
        ]
        return torch.cat(parts)

    def blocks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Rows of the plan `(block, n_ref)` in order, each normalised to its weight exactly; updates `f`."""
        x, y = self.problem.x, self.problem.y
        left, right = self.problem.factors(self.cross)
        offset = self.g / self.epsilon + y.weight.log()
        size = max(1, _BLOCK_ENTRIES // len(y))
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            logits = left[rows] @ right.T / self.epsilon + offset
            log_sum = torch.logsumexp(logits, 1, keepdim=True)
            self.f[rows] = -self.epsilon * log_sum[:, 0]
            yield start, (logits - log_sum).exp_() * x.weight[rows, None]

    def polish(self, *, max_moves: int = 12) -> bool:
        """Continue on all cells: balance the marginals and linearise anew, until the loss has settled.

        Sets `loss` and `column_error` and returns whether both have settled (the rows always have).
        """
        n, m = self.shape
        dense = n * m <= _MAX_DENSE
        n_passes = 3 if dense else int(max(3, min(40, _MAX_WORK // (n * m))))
        moves = max_moves if dense else min(max_moves, n_passes // 6)
        # where not even one move is affordable, the coreset's linearisation is kept
        settled = moves == 0
        for _ in range(moves):
            previous = self.loss
            self._balance(n_passes // (2 * moves), dense=dense)
            self.cross = self._pass(update=False)
            settled = abs(self.loss - previous) < _SETTLED_LOSS
            if settled:
                break
        self._balance(n_passes // 2, dense=dense)
        self._pass(update=False)
        return settled and self.column_error < _SETTLED_COLUMNS

    def _balance(self, n_passes: int, *, dense: bool) -> None:
        """Sinkhorn iterations: on a kernel held in memory, or by passes over the blocks."""
        x, y = self.problem.x, self.problem.y
        if not dense:
            for _ in range(max(1, n_passes)):
                self._pass()
                if self.column_error < MARGINAL_TOL:
                    break
            return
        # a plan with exact rows is a kernel that is already scaled well
        kernel = torch.cat([block / x.weight[s : s + len(block), None] for s, block in self.blocks()]) / y.weight
        _, v = scale(kernel[None], x.weight[None, :, None], y.weight[None, :, None], _N_SCALINGS, MARGINAL_TOL)
        self.g = self.g + self.epsilon * v[0, :, 0].log()

    def _pass(self, *, update: bool = True) -> torch.Tensor:
        """One Sinkhorn iteration; sets `loss` and `column_error` and returns the cross matrix of the plan before it."""
        problem = self.problem
        y = problem.y
        columns = torch.zeros_like(y.weight)
        right = torch.cat([y.norms, y.points], 1)
        norms = problem.x.norms.new_zeros(problem.n_views)
        cross = torch.zeros_like(problem.mask)
        for start, block in self.blocks():
            rows = slice(start, start + len(block))
            moved = block @ right
            columns += block.sum(0)
            norms += (problem.x.norms[rows] * moved[:, : problem.n_views]).sum(0)
            cross += problem.x.points[rows].T @ moved[:, problem.n_views :]
        cross = cross * problem.mask
        self.column_error = float((columns - y.weight).abs().sum())
        self.loss = float(problem.loss(norms, cross))
        if update:
            self.g = self.g - self.epsilon * (columns / y.weight).clamp(min=1e-30).log()
        return cross
