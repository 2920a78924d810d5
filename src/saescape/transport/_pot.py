"""The same problem solved by POT on dense cost matrices: the reference that the fast solver is compared with."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._problem import dense_loss

if TYPE_CHECKING:
    from saescape._typing import FloatArray

# dense GW holds about this many matrices of each shape at once
_N_SQUARE, _N_PLAN = 3, 8


@dataclass(frozen=True)
class PotResult:
    """Plan, loss ``2 (1 - r)``, entropic objective, L1 error of the marginals, and whether POT reported convergence."""

    plan: FloatArray
    loss: float
    objective: float
    marginal_error: float
    converged: bool


def dense_bytes(n: int, m: int) -> int:
    """Estimated peak memory of the dense solver."""
    return 8 * (_N_SQUARE * (n * n + m * m) + _N_PLAN * n * m)


def pot_entropic(
    cost_x: FloatArray,
    cost_y: FloatArray,
    epsilon: float,
    *,
    start: FloatArray | None = None,
    labels: FloatArray | None = None,
    alpha: float = 1.0,
    max_iter: int = 500,
    tol: float = 1e-7,
) -> PotResult:
    """Entropic square-loss GW by projected gradient (Peyre et al. 2016) from one start; costs have SD one.

    With a cost of pairs `labels` `(n, m)`, the objective is `alpha` times the loss plus ``1 - alpha`` times this cost.

    Raises
    ------
    ValueError
        If POT's result is not finite.
    """
    import ot

    n, m = len(cost_x), len(cost_y)
    a, b = np.full(n, 1 / n), np.full(m, 1 / m)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        options = {
            "epsilon": epsilon,
            "symmetric": True,
            "G0": start,
            "max_iter": max_iter,
            "tol": tol,
            "solver": "PGD",
            "log": True,
        }
        if labels is None:
            plan, log = ot.gromov.entropic_gromov_wasserstein(cost_x, cost_y, a, b, "square_loss", **options)
        else:
            plan, log = ot.gromov.entropic_fused_gromov_wasserstein(
                labels, cost_x, cost_y, a, b, "square_loss", alpha=alpha, **options
            )
    plan = np.asarray(plan)
    if not np.all(np.isfinite(plan)) or plan.sum() < 0.5:
        msg = f"POT found no finite plan with `epsilon={epsilon:g}`; raise `epsilon` or use `method='auto'`."
        raise ValueError(msg)
    error = float(np.abs(plan.sum(1) - a).sum() + np.abs(plan.sum(0) - b).sum())
    loss = dense_loss(cost_x, cost_y, plan)
    ratio = np.maximum(plan * (n * m), 1e-300)
    fused = loss if labels is None else alpha * loss + (1 - alpha) * float(np.sum(labels * plan))
    objective = fused + epsilon * float(np.sum(plan * np.log(ratio)))
    reached = bool(log["err"]) and float(log["err"][-1]) <= tol
    return PotResult(plan, loss, objective, error, reached and not any("converge" in str(w.message) for w in caught))
