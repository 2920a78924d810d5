"""Non-negative sparse coding of a batch of rows by accelerated proximal gradient steps."""

from __future__ import annotations

from typing import NamedTuple

import torch

# iterations between two looks at the duality gap, which costs as much as an iteration
_CHECK_EVERY = 10


class Solution(NamedTuple):
    """Codes of a batch and the relative duality gap at which each row stopped."""

    codes: torch.Tensor
    gap: torch.Tensor


def duality_gap(x: torch.Tensor, codes: torch.Tensor, atoms: torch.Tensor, penalty: float) -> torch.Tensor:
    r"""Upper bound on how far each row's objective is above its minimum.

    The dual of ``min_{z >= 0} 1/2 ||x - zD||^2 + penalty * sum(z)`` is
    ``max 1/2 ||x||^2 - 1/2 ||x - theta||^2`` over ``theta`` with ``theta . D_j <= penalty`` for each atom. The
    residual, scaled to be feasible, is such a point (Kim et al. 2007, section III, here with the one-sided constraint
    that belongs to non-negative codes).
    """
    residual = x - codes @ atoms
    largest = (residual @ atoms.t()).amax(1).clamp_min(torch.finfo(x.dtype).tiny)
    power = residual.square().sum(1)
    # a negative multiple would meet the constraints from the other side
    best = ((x * residual).sum(1) / power.clamp_min(torch.finfo(x.dtype).tiny)).clamp_min(0)
    scale = torch.minimum(penalty / largest, best).unsqueeze(1)
    dual = 0.5 * (x.square().sum(1) - (x - scale * residual).square().sum(1))
    return 0.5 * power + penalty * codes.sum(1) - dual


def fista(
    x: torch.Tensor,
    atoms: torch.Tensor,
    penalty: float,
    *,
    lipschitz: float,
    gram: torch.Tensor | None = None,
    start: torch.Tensor | None = None,
    tol: float = 1e-4,
    max_iter: int = 2_000,
) -> Solution:
    r"""Minimise ``1/2 ||x - zD||^2 + penalty * sum(z)`` over ``z >= 0`` for each row.

    FISTA (Beck & Teboulle 2009) whose momentum each row restarts when it points uphill (O'Donoghue & Candes 2015,
    gradient scheme). A row leaves the batch when its duality gap is at most `tol` times ``1/2 ||x||^2``, so its code
    does not depend on the rows it is solved with.

    Parameters
    ----------
    x
        Rows `(n, d)`.
    atoms
        Dictionary `(m, d)`.
    penalty
        Positive.
    lipschitz
        Largest eigenvalue of ``D D^T``, or more.
    gram
        ``D D^T``, where forming it pays; None multiplies by ``D`` and ``D^T`` one after the other.
    start
        Codes to start from; zeros when None.
    """
    n, m = len(x), len(atoms)
    codes, gaps = x.new_zeros(n, m), x.new_zeros(n)
    energy = 0.5 * x.square().sum(1)
    target = x @ atoms.t() - penalty
    now = x.new_zeros(n, m) if start is None else start.clone()
    ahead, t = now.clone(), x.new_ones(n, 1)
    rows = torch.arange(n, device=x.device)
    for i in range(max_iter + 1):
        if i % _CHECK_EVERY == 0 or i == max_iter:
            gap = duality_gap(x, now, atoms, penalty)
            done = (gap <= tol * energy) | (i == max_iter)
            if bool(done.any()):
                codes[rows[done]] = now[done]
                gaps[rows[done]] = gap[done] / energy[done].clamp_min(torch.finfo(x.dtype).tiny)
                still = (~done).nonzero().view(-1)
                if len(still) == 0:
                    break
                x, energy, target, rows = x[still], energy[still], target[still], rows[still]
                now, ahead, t = now[still], ahead[still], t[still]
        product = ahead @ gram if gram is not None else (ahead @ atoms) @ atoms.t()
        new = product.sub_(target).mul_(-1 / lipschitz).add_(ahead).clamp_min_(0)
        step = new - now
        uphill = torch.linalg.vecdot(ahead.sub_(new), step, dim=1).unsqueeze(1) > 0
        t_next = torch.where(uphill, 1.0, (1 + (1 + 4 * t.square()).sqrt()) / 2)
        momentum = torch.where(uphill, 0.0, (t - 1) / t_next)
        now, t = new, t_next
        ahead = step.mul_(momentum).add_(new)
    return Solution(codes, gaps)
