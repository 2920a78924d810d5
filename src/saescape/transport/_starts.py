"""Initial couplings for the search, and the symmetry moves that lead from one optimum to its mirror images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from ._problem import Problem

_N_AXES = 5
_N_MOVED = 6


def starting_points(problem: Problem, n_starts: int, rng: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
    """Cross matrices `(n_starts, r, s)` and the kind of each.

    In this order: the product coupling (every peer's only start, a saddle for symmetric data); where there is a linear
    cost, the coupling that this cost alone asks for; for each view, couplings of the cells' distance distributions (the
    third lower bound; Memoli 2011) at two temperatures; then, by turns, signed matchings of principal axes and random
    rotations of the leading axes.
    """
    views_x, views_y = problem.x.views(), problem.y.views()
    offsets = np.cumsum([(0, 0), *zip(problem.x.ranks, problem.y.ranks, strict=True)], axis=0)
    starts, kinds = [torch.zeros_like(problem.mask)], ["product"]
    joint_x, joint_y = problem.x.joint, problem.y.joint
    if joint_x is not None and joint_y is not None:
        starts.append(_transport_start(problem, joint_x @ joint_y.T, 0.1))
        kinds.append("labels")
    for epsilon in (0.1, 0.02):
        for vx, vy in zip(views_x, views_y, strict=True):
            if len(starts) < n_starts:
                starts.append(_distance_start(problem, vx, vy, epsilon))
                kinds.append("distances")
    axes = [
        (_principal_axes(vx, problem.x.weight), _principal_axes(vy, problem.y.weight))
        for vx, vy in zip(views_x, views_y, strict=True)
    ]
    for i in range(n_starts - len(starts)):
        view = i % len(axes)
        left, right = axes[view]
        q = min(_N_AXES, left.shape[1], right.shape[1])
        if (i // len(axes)) % 2 == 0:
            turn = np.diag(rng.choice([-1.0, 1.0], q))
            kinds.append("axes")
        else:
            turn = np.linalg.qr(rng.normal(size=(q, q)))[0]
            kinds.append("rotation")
        start = torch.zeros_like(problem.mask)
        (r0, c0), (r1, c1) = offsets[view], offsets[view + 1]
        # 0.7: a coupling never reaches the full correlation of matched axes
        rotation = torch.as_tensor(turn, dtype=left.dtype, device=left.device)
        start[r0:r1, c0:c1] = 0.7 * len(axes) ** 0.5 * left[:, :q] @ rotation @ right[:, :q].T
        starts.append(start)
    return torch.stack(starts[:n_starts]), kinds[:n_starts]


def symmetry_moves(problem: Problem, cross: torch.Tensor) -> torch.Tensor:
    """Neighbours of one solution: each leading singular component negated, or two of them exchanged."""
    u, s, vh = (t.to(cross.device) for t in torch.linalg.svd(cross.cpu(), full_matrices=False))
    q = min(_N_MOVED, int((s > 1e-6 * s[0].clamp(min=1e-30)).sum()))
    moved = [cross - 2 * s[i] * torch.outer(u[:, i], vh[i]) for i in range(q)]
    for i in range(q):
        for j in range(i + 1, q):
            without = cross - s[i] * torch.outer(u[:, i], vh[i]) - s[j] * torch.outer(u[:, j], vh[j])
            size = (s[i] * s[j]).sqrt()
            for sign in (1, -1):
                exchanged = torch.outer(u[:, i], vh[j]) + sign * torch.outer(u[:, j], vh[i])
                moved.append(without + size * exchanged)
    return torch.stack(moved) * problem.mask if moved else cross[None][:0]


def _principal_axes(view: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Eigenvectors of the second moments times the SD along them, largest first."""
    moments = ((view * weight[:, None]).T @ view).double().cpu()
    eigenvalues, vectors = torch.linalg.eigh(moments)
    scaled = vectors.flip(1) * eigenvalues.flip(0).clamp(min=0).sqrt()
    return scaled.to(view)


def _distance_start(problem: Problem, vx: torch.Tensor, vy: torch.Tensor, epsilon: float) -> torch.Tensor:
    left, right = _distance_quantiles(vx, problem.x.weight), _distance_quantiles(vy, problem.y.weight)
    cost = torch.cdist(left, right) ** 2
    return _transport_start(problem, cost / cost.std().clamp(min=1e-12), epsilon)


def _transport_start(problem: Problem, cost: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Cross matrix of the entropic coupling for a cost of pairs."""
    log_a, log_b = problem.x.weight.log(), problem.y.weight.log()
    f, g = torch.zeros_like(log_a), torch.zeros_like(log_b)
    for _ in range(60):
        g = -epsilon * torch.logsumexp((f[:, None] - cost) / epsilon + log_a[:, None], 0)
        f = -epsilon * torch.logsumexp((g[None] - cost) / epsilon + log_b[None], 1)
    plan = torch.exp((f[:, None] + g[None] - cost) / epsilon + log_a[:, None] + log_b[None])
    return problem.evaluate(plan)[0]


def _distance_quantiles(view: torch.Tensor, weight: torch.Tensor, n_quantiles: int = 24) -> torch.Tensor:
    """Quantiles of the costs from each point to all others, `(n, n_quantiles)`."""
    values, index = (torch.cdist(view, view) ** 2).sort(1)
    cumulative = weight[index].cumsum(1).contiguous()
    levels = torch.linspace(0.02, 0.98, n_quantiles, device=view.device).expand(len(view), -1).contiguous()
    return values.gather(1, torch.searchsorted(cumulative, levels).clamp(max=len(view) - 1))
