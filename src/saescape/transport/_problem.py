"""Square-loss Gromov-Wasserstein between two weighted point sets whose squared distances are the costs.

With centred points phi_i, psi_j, fixed marginals and a plan P, the loss depends on P only through
``sum_ij P_ij |phi_i|^2 |psi_j|^2`` and the small matrix ``G = Phi^T P Psi``. Both costs are taken at mean zero and SD
one (which changes the loss by a constant and a factor but not its minimisers), so that the loss is ``2 (1 - r)`` with
r the correlation of the two costs under ``P x P``: 0 for an isometry, 2 for the product coupling. A linear cost of
pairs (`joint`) can be added, of low rank too (fused Gromov-Wasserstein; Vayer et al. 2019).
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
    """One cell set: views `(n, r_v)` side by side, squared norms of each view, weights that sum to one.

    `joint` `(n, k)` is the side's factor of the linear cost ``x.joint @ y.joint.T``, None without such a cost.
    """

    points: torch.Tensor
    norms: torch.Tensor
    weight: torch.Tensor
    ranks: tuple[int, ...]
    joint: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.weight)

    def views(self) -> tuple[torch.Tensor, ...]:
        """Points of each view."""
        return self.points.split(self.ranks, dim=1)


@dataclass(frozen=True)
class Moments:
    """What the gradient at a plan needs, batched: for each view the forms that act on the features F of the sides.

    `cross` is ``Phi^T P Psi`` centred under the plan's marginals, for all views together.
    """

    cross: torch.Tensor
    rows: list[torch.Tensor]
    columns: list[torch.Tensor]
    middle: list[torch.Tensor]

    def where(self, mask: torch.Tensor, other: Moments) -> Moments:
        """These moments where `mask` `(b,)` holds, the others elsewhere."""
        mask = mask[:, None, None]
        lists = zip((self.rows, self.columns, self.middle), (other.rows, other.columns, other.middle), strict=True)
        forms = [[torch.where(mask, a, b) for a, b in zip(mine, theirs, strict=True)] for mine, theirs in lists]
        return Moments(torch.where(mask, self.cross, other.cross), *forms)


# where a plan's objective is linearised: at its cross matrix G, or at its moments if marginals may change
State = torch.Tensor | Moments


def make_side(
    views: Sequence[FloatArray],
    weight: FloatArray | None = None,
    device: str | torch.device = "cpu",
    joint: FloatArray | None = None,
) -> Side:
    """Build a side from the embeddings of its views (uniform weights by default) and its factor of the linear cost."""
    tensors = [torch.as_tensor(np.asarray(v, np.float32), device=device) for v in views]
    n = len(tensors[0])
    weight = np.full(n, 1 / n) if weight is None else weight
    return Side(
        points=torch.cat(tensors, 1),
        norms=torch.stack([(v**2).sum(1) for v in tensors], 1),
        weight=torch.as_tensor(np.asarray(weight, np.float32), device=device),
        ranks=tuple(v.shape[1] for v in tensors),
        joint=None if joint is None else torch.as_tensor(np.asarray(joint, np.float32), device=device),
    )


class Problem:
    """The loss of plans between two sides, and its linearisation.

    `alpha` is the weight of the loss, one minus it that of the linear cost; without a linear cost it is one.
    """

    def __init__(self, x: Side, y: Side, alpha: float = 1.0) -> None:
        self.x, self.y = x, y
        self.alpha = 1.0 if x.joint is None else alpha
        self.n_views = len(x.ranks)
        self.mean_x, self.mean_y = _mean_norm(x), _mean_norm(y)
        self.sd_x, self.sd_y = _cost_sd(x), _cost_sd(y)
        self.view_weight = (1 / (self.n_views * self.sd_x * self.sd_y)).float()
        blocks = [torch.full((p, q), 1.0, device=x.points.device) for p, q in zip(x.ranks, y.ranks, strict=True)]
        self.mask = torch.block_diag(*blocks)
        weights = [w * block for w, block in zip(self.view_weight, blocks, strict=True)]
        self.block_weight = torch.block_diag(*weights)

        self.features = torch.cat([y.norms, y.points], 1)
        self.right = self.features if y.joint is None else torch.cat([self.features, y.joint], 1)

    def left(self, x: Side, state: State) -> torch.Tensor:
        """Left factor for the points of `x` (batched over plans): ``-left @ self.right.T`` is the gradient."""
        cross = cross_matrix(state)
        linear = (4 * self.alpha * self.view_weight * x.norms).expand(*cross.shape[:-2], -1, -1)
        parts = [linear, 16 * self.alpha * x.points @ (cross * self.block_weight)]
        if x.joint is not None:
            parts.append(((self.alpha - 1) * x.joint).expand(*cross.shape[:-2], -1, -1))
        return torch.cat(parts, -1)

    def cost(self, state: State) -> torch.Tensor:
        """Gradient of loss and linear cost `(..., n, m)`, up to what fixed marginals make constant."""
        return -self.left(self.x, state) @ self.right.T

    def evaluate(self, plan: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross matrix G and loss of each plan `(..., n, m)`."""
        moved = plan @ self.features
        norms = (self.x.norms * moved[..., : self.n_views]).sum(-2)
        cross = (self.x.points.T @ moved[..., self.n_views :]) * self.mask
        return cross, self.loss(norms, cross)

    def measure(self, plan: torch.Tensor) -> tuple[State, torch.Tensor]:
        """What is needed to linearise at each plan `(..., n, m)`, and its loss."""
        return self.evaluate(plan)

    def block_sums(self, rows: slice, plan: torch.Tensor) -> list[torch.Tensor]:
        """Share of some rows of a plan in what `from_sums` takes."""
        moved = plan @ self.right
        norms = (self.x.norms[rows] * moved[:, : self.n_views]).sum(0)
        cross = self.x.points[rows].T @ moved[:, self.n_views : self.features.shape[1]]
        return [norms, cross, self._block_joint(rows, moved)]

    def from_sums(
        self, sums: Sequence[torch.Tensor], columns: torch.Tensor
    ) -> tuple[State, torch.Tensor, torch.Tensor]:
        """Where to linearise a plan, its loss and linear cost, from sums over its blocks and its `columns`' mass."""
        norms, cross, joint = sums
        cross = cross * self.mask
        return cross, self.loss(norms, cross), joint

    def _block_joint(self, rows: slice, moved: torch.Tensor) -> torch.Tensor:
        if self.x.joint is None:
            return moved.new_zeros(())
        return (self.x.joint[rows] * moved[:, -self.x.joint.shape[1] :]).sum()

    def joint_cost(self, plan: torch.Tensor) -> torch.Tensor:
        """Linear cost of each plan `(..., n, m)`; zero without one."""
        if self.x.joint is None or self.y.joint is None:
            return plan.new_zeros(plan.shape[:-2])
        return (self.x.joint * (plan @ self.y.joint)).sum((-1, -2))

    def loss(self, norms: torch.Tensor, cross: torch.Tensor) -> torch.Tensor:
        """Loss from ``norms_v = sum_ij P_ij |phi_i|^2 |psi_j|^2`` of each view and G."""
        squares, row, column = [], 0, 0
        for p, q in zip(self.x.ranks, self.y.ranks, strict=True):
            squares.append((cross[..., row : row + p, column : column + q].double() ** 2).sum((-1, -2)))
            row, column = row + p, column + q
        covariance = 2 * (norms.double() - self.mean_x * self.mean_y) + 4 * torch.stack(squares, -1)
        return (2 - 2 * covariance / (self.sd_x * self.sd_y)).mean(-1).float()

    def objective(self, plan: torch.Tensor, loss: torch.Tensor, epsilon: float) -> torch.Tensor:
        """Weighted loss and linear cost plus `epsilon` times the divergence of the plan from the product coupling."""
        product = self.x.weight[:, None] * self.y.weight[None]
        ratio = (plan / product.clamp(min=1e-30)).clamp(min=1e-30)
        fused = self.alpha * loss + (1 - self.alpha) * self.joint_cost(plan)
        return fused + epsilon * (plan * ratio.log()).sum((-1, -2))


def cross_matrix(state: State) -> torch.Tensor:
    """Cross matrix of a linearisation, for all views together."""
    return state.cross if isinstance(state, Moments) else state


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
