"""Square-loss Gromov-Wasserstein between two weighted point sets whose squared distances are the costs.

With centred points phi_i, psi_j, fixed marginals and a plan P, the loss depends on P only through
``sum_ij P_ij |phi_i|^2 |psi_j|^2`` and the small matrix ``G = Phi^T P Psi``. Both costs are taken at mean zero and SD
one (which changes the loss by a constant and a factor but not its minimisers), so that the loss is ``2 (1 - r)`` with
r the correlation of the two costs under ``P x P``: 0 for an isometry, 2 for the product coupling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray


@dataclass(frozen=True)
class Side:
    """One cell set: views `(n, r_v)` side by side, squared norms of each view, weights that sum to one."""

    points: torch.Tensor
    norms: torch.Tensor
    weight: torch.Tensor
    ranks: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.weight)

    def views(self) -> tuple[torch.Tensor, ...]:
        """Points of each view."""
        return self.points.split(self.ranks, dim=1)


def make_side(
    views: Sequence[FloatArray], weight: FloatArray | None = None, device: str | torch.device = "cpu"
) -> Side:
    """Build a side from the embeddings of its views (uniform weights by default)."""
    tensors = [torch.as_tensor(np.asarray(v, np.float32), device=device) for v in views]
    n = len(tensors[0])
    weight = np.full(n, 1 / n) if weight is None else weight
    return Side(
        points=torch.cat(tensors, 1),
        norms=torch.stack([(v**2).sum(1) for v in tensors], 1),
        weight=torch.as_tensor(np.asarray(weight, np.float32), device=device),
        ranks=tuple(v.shape[1] for v in tensors),
    )


class Problem:
    """The loss of plans between two sides, and its linearisation."""

    def __init__(self, x: Side, y: Side) -> None:
        self.x, self.y = x, y
        self.n_views = len(x.ranks)
        self.mean_x, self.mean_y = _mean_norm(x), _mean_norm(y)
        self.sd_x, self.sd_y = _cost_sd(x), _cost_sd(y)
        self.view_weight = (1 / (self.n_views * self.sd_x * self.sd_y)).float()
        blocks = [torch.full((p, q), 1.0, device=x.points.device) for p, q in zip(x.ranks, y.ranks, strict=True)]
        self.mask = torch.block_diag(*blocks)
        weights = [w * block for w, block in zip(self.view_weight, blocks, strict=True)]
        self.block_weight = torch.block_diag(*weights)

    def factors(self, cross: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Factors (left, right) with ``-left @ right.T`` the gradient of the loss at a plan with ``G = cross``."""
        return self.left(self.x, cross), torch.cat([self.y.norms, self.y.points], 1)

    def left(self, x: Side, cross: torch.Tensor) -> torch.Tensor:
        """Left factor for the points of `x` (batched over `cross`)."""
        linear = (4 * self.view_weight * x.norms).expand(*cross.shape[:-2], -1, -1)
        return torch.cat([linear, 16 * x.points @ (cross * self.block_weight)], -1)

    def cost(self, cross: torch.Tensor) -> torch.Tensor:
        """Gradient of the loss up to terms that fixed marginals make constant, `(..., n, m)`."""
        left, right = self.factors(cross)
        return -left @ right.T

    def evaluate(self, plan: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross matrix G and loss of each plan `(..., n, m)`."""
        moved = plan @ torch.cat([self.y.norms, self.y.points], 1)
        norms = (self.x.norms * moved[..., : self.n_views]).sum(-2)
        cross = (self.x.points.T @ moved[..., self.n_views :]) * self.mask
        return cross, self.loss(norms, cross)

    def loss(self, norms: torch.Tensor, cross: torch.Tensor) -> torch.Tensor:
        """Loss from ``norms_v = sum_ij P_ij |phi_i|^2 |psi_j|^2`` of each view and G."""
        squares, row, column = [], 0, 0
        for p, q in zip(self.x.ranks, self.y.ranks, strict=True):
            squares.append((cross[..., row : row + p, column : column + q].double() ** 2).sum((-1, -2)))
            row, column = row + p, column + q
        covariance = 2 * (norms.double() - self.mean_x * self.mean_y) + 4 * torch.stack(squares, -1)
        return (2 - 2 * covariance / (self.sd_x * self.sd_y)).mean(-1).float()

    def objective(self, plan: torch.Tensor, loss: torch.Tensor, epsilon: float) -> torch.Tensor:
        """Loss plus `epsilon` times the divergence of the plan from the product of its marginals."""
        product = self.x.weight[:, None] * self.y.weight[None]
        ratio = (plan / product.clamp(min=1e-30)).clamp(min=1e-30)
        return loss + epsilon * (plan * ratio.log()).sum((-1, -2))


def _mean_norm(side: Side) -> torch.Tensor:
    return (side.norms * side.weight[:, None]).double().sum(0)


def _cost_sd(side: Side) -> torch.Tensor:
    # for points centred at the weighted mean; float64 because the variance is a difference of large numbers
    norms = side.norms.double()
    weight = side.weight.double()[:, None]
    mean, second = (norms * weight).sum(0), (norms**2 * weight).sum(0)
    moments = [(view.double() * weight).T @ view.double() for view in side.views()]
    squares = torch.stack([(m**2).sum() for m in moments])
    return (2 * second - 2 * mean**2 + 4 * squares).clamp(min=1e-12).sqrt()


def dense_loss(cost_x: FloatArray, cost_y: FloatArray, plan: FloatArray) -> float:
    """Loss ``2 (1 - r)`` of a plan for explicit symmetric cost matrices (any scale and offset)."""
    a, b = plan.sum(1), plan.sum(0)
    x = cost_x - a @ cost_x @ a
    y = cost_y - b @ cost_y @ b
    sd_x, sd_y = np.sqrt(a @ x**2 @ a), np.sqrt(b @ y**2 @ b)
    return float(2 - 2 * np.sum((x @ plan) * (plan @ y)) / (sd_x * sd_y))
