"""A coupling of all cells, held as factors and potentials and read block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ._problem import Moments
from ._relaxed import RelaxedProblem
from ._relaxed_solver import scale_relaxed
from ._solution import MARGINAL_TOL
from ._solver import scale

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import FloatArray

    from ._problem import Problem, Side, State
    from ._relaxed import Relaxation
    from ._solution import Solutions

# entries of one dense block of the plan
BLOCK_ENTRIES = 8 * 2**20
# entries of a plan that may be held in memory
MAX_DENSE = 1e8
# entries that all passes over a larger plan together may compute
_MAX_WORK = 4e9
_N_SCALINGS = 300
# how strongly relaxed marginals are held near the last ones
_TAU = 1.0
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
        self.state: State = _first(solution.state)
        # marginals that the plan is to have
        self.row_mass, self.column_mass = problem.x.weight, problem.y.weight
        self.log_sums = torch.zeros_like(problem.x.weight)
        # log-ratios to the weights of the marginals that new ones are held near (see the relaxed solver)
        self.earlier = (torch.zeros_like(self.row_mass), torch.zeros_like(self.column_mass))
        self.tau = problem.x.weight.new_zeros(())
        self.g = self._extend(core, solution.f[0])
        self.column_error = float("inf")
        self.loss = float(solution.loss[0])
        self.joint_cost = 0.0
        if self._relaxations is not None:
            # the row sums that the first plan has, so that its row masses can be set before it is read
            for _ in self.blocks():
                pass
            self._relax_rows(self.log_sums)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.problem.x), len(self.problem.y)

    @property
    def _relaxations(self) -> tuple[Relaxation, Relaxation] | None:
        problem = self.problem
        if not isinstance(problem, RelaxedProblem):
            return None
        return problem.relaxations(self.epsilon, self.tau, self.earlier)

    def _unary_costs(self, side: Side) -> tuple[torch.Tensor, torch.Tensor] | tuple[float, float]:
        """Parts of the cost that depend on the cell of `side`, or on that of the other side, only."""
        problem, state = self.problem, self.state
        if isinstance(problem, RelaxedProblem):
            return problem.row_cost(side, state), problem.column_cost(state)
        return 0.0, 0.0

    def _extend(self, core: Problem, f: torch.Tensor) -> torch.Tensor:
        """Potentials of all columns from those of the coreset's rows."""
        y, right = self.problem.y, self.problem.right
        left = self.problem.left(core.x, self.state)
        row_cost, column_cost = self._unary_costs(core.x)
        offset = (f - row_cost) / self.epsilon + core.x.weight.log()
        size = max(1, BLOCK_ENTRIES // len(core.x))
        parts = [
            torch.logsumexp(left @ right[s : s + size].T / self.epsilon + offset[:, None], 0)
            for s in range(0, len(y), size)
        ]
        log_sums = torch.cat(parts) - column_cost / self.epsilon
        return self.epsilon * (self._relax_columns(log_sums) - log_sums)

    def _relax_columns(self, log_sums: torch.Tensor) -> torch.Tensor | float:
        """Set the columns' mass for sums of the kernel; returns the logarithm of its ratio to the weights."""
        if self._relaxations is None:
            return 0.0
        ratio = self._relaxations[1].log_ratio(log_sums)
        self.column_mass = self.problem.y.weight * ratio.exp()
        return ratio

    def _relax_rows(self, log_sums: torch.Tensor) -> None:
        if self._relaxations is not None:
            self.row_mass = self.problem.x.weight * self._relaxations[0].log_ratio(log_sums).exp()

    def _hold(self) -> None:
        """Hold relaxed marginals near the present ones from now on."""
        if self._relaxations is not None:
            ratios = (self.row_mass / self.problem.x.weight, self.column_mass / self.problem.y.weight)
            self.earlier = (ratios[0].clamp(min=1e-30).log(), ratios[1].clamp(min=1e-30).log())
            self.tau = torch.full_like(self.tau, _TAU)

    def blocks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Rows of the plan `(block, n_ref)` in order, each normalised to its mass exactly; updates `log_sums`."""
        x, y, right = self.problem.x, self.problem.y, self.problem.right
        left = self.problem.left(x, self.state)
        row_cost, column_cost = self._unary_costs(x)
        offset = (self.g - column_cost) / self.epsilon + y.weight.log()
        left, right = left / self.epsilon, right.T.contiguous()
        size = max(1, BLOCK_ENTRIES // len(y))
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            logits = torch.addmm(offset, left[rows], right)
            # softmax takes one exponential of each entry; the sum it divides by follows from the largest ones
            block = torch.softmax(logits, 1)
            self.log_sums[rows] = logits.amax(1) - block.amax(1).log()
            yield start, block.mul_(self.row_mass[rows, None])
        self.log_sums -= row_cost / self.epsilon

    def marginals(self) -> tuple[FloatArray, FloatArray]:
        """Mass of every row and of every column."""
        return self.row_mass.double().cpu().numpy(), self.column_mass.double().cpu().numpy()

    def polish(self, *, max_moves: int = 12) -> bool:
        """Continue on all cells: balance the marginals and linearise anew, until the loss has settled.

        Sets `loss` and `column_error` and returns whether both have settled (the rows always have).
        """
        n, m = self.shape
        dense = n * m <= MAX_DENSE
        n_passes = 3 if dense else int(max(3, min(40, _MAX_WORK // (n * m))))
        moves = max_moves if dense else min(max_moves, n_passes // 6)
        # where not even one move is affordable, the coreset's linearisation is kept
        settled = moves == 0
        for _ in range(moves):
            previous = self.loss
            self._hold()
            self._balance(n_passes // (2 * moves), dense=dense)
            self.state = self._pass(update=False)
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
        if self._relaxations is None:
            _, v = scale(kernel[None], x.weight[None, :, None], y.weight[None, :, None], _N_SCALINGS, MARGINAL_TOL)
        else:
            rows, columns = self._relaxations
            # what the rows' potential left out of the kernel's sums
            left_out = self.log_sums - (self.row_mass / x.weight).clamp(min=1e-30).log()
            shifts = (rows, left_out[None]), (columns, -self.g[None] / self.epsilon)
            _, v, (log_x, log_y) = scale_relaxed(kernel[None], *shifts, _N_SCALINGS)
            self.row_mass, self.column_mass = x.weight * log_x[0].exp(), y.weight * log_y[0].exp()
            v = v[:, :, None]
        self.g = self.g + self.epsilon * v[0, :, 0].log()

    def _pass(self, *, update: bool = True) -> State:
        """One Sinkhorn iteration; sets `loss` and `column_error` and returns where to linearise the plan before it."""
        problem = self.problem
        y = problem.y
        columns = torch.zeros_like(y.weight)
        sums: list[torch.Tensor] = []
        for start, block in self.blocks():
            columns += block.sum(0)
            found = problem.block_sums(slice(start, start + len(block)), block)
            sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
        state, loss, joint = problem.from_sums(sums, columns)
        self.loss, self.joint_cost = float(loss), float(joint)
        log_columns = (columns / y.weight).clamp(min=1e-30).log()
        ratio = self._relax_columns(log_columns - self.g / self.epsilon)
        self.column_error = float((columns - self.column_mass).abs().sum())
        if update:
            self.g = self.g + self.epsilon * (ratio - log_columns)
            self._relax_rows(self.log_sums)
        return state


def _first(state: State) -> State:
    """The first of a batch of linearisations."""
    if isinstance(state, Moments):
        return Moments(state.cross[0], *([form[0] for form in f] for f in (state.rows, state.columns, state.middle)))
    return state[0]
