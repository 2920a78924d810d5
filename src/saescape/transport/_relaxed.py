"""Gromov-Wasserstein with marginals that may deviate from the given ones, at a price.

The objective of the fixed-marginal problem is kept, with the correlation of the two costs taken under the plan's own
marginals, and ``rho KL(marginal | given)`` is added for each side (Chizat et al. 2018; Sejourne et al. 2021, who relax
the total mass too; here it stays one). Each cost is of low rank: with ``F = [1, |phi|^2, phi]`` the centred cost
matrix is ``F B F^T``, so that the loss and its gradient need only second moments of F under the plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isinf
from typing import TYPE_CHECKING

import torch

from ._problem import Moments, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._problem import Side, State


# SD of the costs under a plan's marginals, in units of that under the given ones: a plan that has shrunk to few cells
# has no correlation to speak of
_MIN_SD = 0.05


@dataclass(frozen=True)
class Relaxation:
    """Best marginal of one side for given sums of the kernel over the other side.

    With penalty rho, and tau for the divergence from an earlier marginal, the logarithm of marginal over weight is
    ``(epsilon log(s) + tau earlier) / (epsilon + rho + tau)`` but for a constant (the mass is one), where s are the
    sums of the kernel without this side's potential and `earlier` is that logarithm for the earlier marginal.
    """

    exponent: torch.Tensor
    earlier: torch.Tensor
    weight: torch.Tensor

    def log_ratio(self, log_sums: torch.Tensor) -> torch.Tensor:
        """Logarithm of marginal over weight `(..., n)`."""
        value = self.exponent * log_sums + self.earlier
        return value - torch.logsumexp(value + self.weight.log(), -1, keepdim=True)


class RelaxedProblem(Problem):
    """A problem whose marginals cost `penalty` times their divergence (one number for each side; inf is fixed).

    A linearisation is known by a cross matrix (then marginals are fixed, as in the parent) or by `Moments`.
    """

    def __init__(self, x: Side, y: Side, alpha: float = 1.0, penalty: tuple[float, float] = (inf, inf)) -> None:
        super().__init__(x, y, alpha)
        self.penalty = penalty
        self.features_y = cost_features(y)
        self.all_features = torch.cat(self.features_y, 1)
        self.right = self.all_features if y.joint is None else torch.cat([self.all_features, y.joint], 1)

    def left(self, x: Side, state: State) -> torch.Tensor:
        """Left factor for the points of `x`."""
        if isinstance(state, Moments):
            parts = [f @ middle for f, middle in zip(cost_features(x), state.middle, strict=True)]
        else:
            quadratic = (16 * self.alpha * x.points @ (state * self.block_weight)).split(self.y.ranks, -1)
            linear = 4 * self.alpha * self.view_weight * x.norms
            parts = []
            for v, block in enumerate(quadratic):
                column = linear[:, v : v + 1].expand(*block.shape[:-1], 1)
                parts += [torch.zeros_like(column), column, block]
        if x.joint is not None:
            parts.append(((self.alpha - 1) * x.joint).expand(*parts[0].shape[:-2], -1, -1))
        return torch.cat(parts, -1)

    def cost(self, state: State) -> torch.Tensor:
        """Gradient of the objective without its entropies."""
        cost = -self.left(self.x, state) @ self.right.T
        if isinstance(state, Moments):
            cost += self.row_cost(self.x, state)[..., :, None]
            cost += self.column_cost(state)[..., None, :]
        return cost

    def row_cost(self, x: Side, state: State) -> torch.Tensor:
        """Part of the gradient that depends on the cell of `x` only."""
        if not isinstance(state, Moments):
            return torch.zeros_like(x.weight)
        return torch.stack(
            [((f @ form) * f).sum(-1) for f, form in zip(cost_features(x), state.rows, strict=True)]
        ).sum(0)

    def column_cost(self, state: State) -> torch.Tensor:
        """Part of the gradient that depends on the cell of the other side only."""
        if not isinstance(state, Moments):
            return torch.zeros_like(self.y.weight)
        forms = zip(self.features_y, state.columns, strict=True)
        return torch.stack([((f @ form) * f).sum(-1) for f, form in forms]).sum(0)

    def measure(self, plan: torch.Tensor) -> tuple[State, torch.Tensor]:
        """Where to linearise at each plan `(..., n, m)`, and its loss."""
        across, rows = self._sums(cost_features(self.x), plan, plan @ self.all_features)
        return self._moments(across, rows, _second_moments(self.features_y, plan.sum(-2)))

    def block_sums(self, rows: slice, plan: torch.Tensor) -> list[torch.Tensor]:
        """Share of some rows of a plan in what `from_sums` takes."""
        moved = plan @ self.right
        across, second = self._sums(
            [f[rows] for f in cost_features(self.x)], plan, moved[:, : self.all_features.shape[1]]
        )
        return [*across, *second, self._block_joint(rows, moved)]

    def from_sums(
        self, sums: Sequence[torch.Tensor], columns: torch.Tensor
    ) -> tuple[State, torch.Tensor, torch.Tensor]:
        """Where to linearise a plan, its loss and linear cost, from sums over its blocks and its `columns`' mass."""
        across, rows = sums[: self.n_views], sums[self.n_views : -1]
        moments, loss = self._moments(across, rows, _second_moments(self.features_y, columns))
        return moments, loss, sums[-1]

    def _sums(
        self, features: Sequence[torch.Tensor], plan: torch.Tensor, moved: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Moments across the sides and of the rows (additive over blocks of rows)."""
        moved_views = moved.split([f.shape[1] for f in self.features_y], -1)
        across = [f.T @ m for f, m in zip(features, moved_views, strict=True)]
        return across, _second_moments(features, plan.sum(-1))

    def _moments(
        self, across: Sequence[torch.Tensor], rows: Sequence[torch.Tensor], columns: Sequence[torch.Tensor]
    ) -> tuple[Moments, torch.Tensor]:
        forms: tuple[list[torch.Tensor], ...] = ([], [], [])
        losses, blocks = [], []
        weight = self.alpha / self.n_views
        for views in zip(across, rows, columns, strict=True):
            t, s, z = (moments.double() for moments in views)
            (b_x, sd_x), (b_y, sd_y) = standard_form(s), standard_form(z)
            middle = (b_x / sd_x) @ t @ (b_y / sd_y)
            r = (middle * t).sum((-1, -2))
            losses.append(2 - 2 * r)
            scale = 2 * weight * r[..., None, None]
            forms[0].append((scale * (b_x @ s @ b_x) / sd_x**2).float())
            forms[1].append((scale * (b_y @ z @ b_y) / sd_y**2).float())
            forms[2].append((4 * weight * middle).float())
            blocks.append(t[..., 2:, 2:] - s[..., 2:, :1] * z[..., :1, 2:])
        loss = torch.stack(losses).mean(0).float()
        return Moments(_block_diagonal(blocks).float(), *forms), loss

    def relaxations(
        self, epsilon: float, tau: torch.Tensor, earlier: tuple[torch.Tensor, torch.Tensor], *, fixed: bool = False
    ) -> tuple[Relaxation, Relaxation]:
        """Of rows and columns, for `tau` `(...)` and the earlier log-ratios `(..., n)`, `(..., m)`."""
        tau = tau[..., None]
        rows, columns = (
            Relaxation(epsilon / (epsilon + rho + tau), tau / (epsilon + rho + tau) * log_ratio, side.weight)
            for rho, log_ratio, side in zip(
                (inf, inf) if fixed else self.penalty, earlier, (self.x, self.y), strict=True
            )
        )
        return rows, columns

    def price(self, log_ratios: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Price of the marginals, given as the logarithms `(b, n)`, `(b, m)` of their ratio to the weights.

        Not taken from the plan: rounding errors of its sums would count when the penalty is large.
        """
        total = log_ratios[0].new_zeros(len(log_ratios[0]), dtype=torch.float64)
        for rho, given, side in zip(self.penalty, log_ratios, (self.x, self.y), strict=True):
            if isinf(rho):
                continue
            log_weight = side.weight.double().log()
            log_weight = log_weight - torch.logsumexp(log_weight, -1)
            log_ratio = given.double() - torch.logsumexp(given.double() + log_weight, -1, keepdim=True)
            total += rho * ((log_ratio + log_weight).exp() * log_ratio).sum(-1)
        return total.float()


def make_problem(x: Side, y: Side, alpha: float = 1.0, penalty: tuple[float, float] = (inf, inf)) -> Problem:
    """Problem with fixed marginals unless the penalty of one of them is finite."""
    return Problem(x, y, alpha) if all(map(isinf, penalty)) else RelaxedProblem(x, y, alpha, penalty)


def cost_features(side: Side) -> list[torch.Tensor]:
    """``[1, |phi|^2, phi]`` of each view."""
    ones = torch.ones_like(side.norms[:, :1])
    return [torch.cat([ones, side.norms[:, v : v + 1], view], 1) for v, view in enumerate(side.views())]


def _second_moments(features: Sequence[torch.Tensor], mass: torch.Tensor) -> list[torch.Tensor]:
    """Second moments of the features of each view under `mass` `(..., n)`."""
    return [f.T @ (mass[..., None] * f) for f in features]


def standard_form(moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Middle factor B of the centred cost matrix ``F B F^T`` and the cost's SD, under the marginal with `moments`."""
    form = moments.new_zeros(moments.shape)
    form[..., 2:, 2:] = -2 * torch.eye(moments.shape[-1] - 2, dtype=moments.dtype, device=moments.device)
    form[..., 0, 0] = 2 * (moments[..., 0, 2:] ** 2).sum(-1) - 2 * moments[..., 0, 1]
    form[..., 0, 1] = form[..., 1, 0] = 1
    product = form @ moments
    variance = (product * product.transpose(-1, -2)).sum((-1, -2))
    return form, variance.clamp(min=_MIN_SD**2).sqrt()[..., None, None]


def _block_diagonal(blocks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Blocks on the diagonal, batched."""
    height, width = sum(b.shape[-2] for b in blocks), sum(b.shape[-1] for b in blocks)
    out = blocks[0].new_zeros(*blocks[0].shape[:-2], height, width)
    row, column = 0, 0
    for block in blocks:
        out[..., row : row + block.shape[-2], column : column + block.shape[-1]] = block
        row, column = row + block.shape[-2], column + block.shape[-1]
    return out
