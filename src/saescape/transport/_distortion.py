"""How badly each cell's distances are kept by a coupling: the cell's share of the loss.

With costs standardised under the marginals, ``D_i = sum_j P(j|i) sum_kl P_kl (x_ik - y_jl)^2`` is what remains of the
distances of cell i after the coupling; its mean over the cells is the loss ``2 (1 - r)``. As in `_relaxed`, each cost
matrix is ``F B F^T``, so that each cell needs second moments of the features and its own conditional means only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from saescape._typing import FloatArray

    from ._problem import Side


def distortion_target(y: Side, mass: FloatArray) -> FloatArray:
    """Columns `(n_ref, d)` whose conditional means `distortion` takes; `mass` is the plan's column marginal."""
    columns = []
    for features in _features(y):
        moments = features.T @ (features * mass[:, None])
        form = _standardised(moments)
        columns.append(np.column_stack([features, _quadratic(features, form @ moments @ form)]))
    return np.concatenate(columns, 1).astype(np.float32)


def distortion(x: Side, y: Side, row_mass: FloatArray, column_mass: FloatArray, moved: FloatArray) -> FloatArray:
    """Distortion of each cell of `x` `(n,)`, averaged over the views; `moved` are the target's conditional means."""
    features_x, features_y = _features(x), _features(y)
    parts = np.split(np.asarray(moved, np.float64), np.cumsum([f.shape[1] + 1 for f in features_y])[:-1], axis=1)
    views = []
    for f_x, f_y, part in zip(features_x, features_y, parts, strict=True):
        partner, square_y = part[:, :-1], part[:, -1]
        weighted = f_x * row_mass[:, None]
        moments = f_x.T @ weighted
        form_x = _standardised(moments)
        form_y = _standardised(f_y.T @ (f_y * column_mass[:, None]))
        product = ((f_x @ (form_x @ (weighted.T @ partner) @ form_y)) * partner).sum(1)
        views.append(_quadratic(f_x, form_x @ moments @ form_x) + square_y - 2 * product)
    return np.mean(views, 0).clip(min=0).astype(np.float32)


def dense_distortion(cost_x: FloatArray, cost_y: FloatArray, plan: FloatArray) -> FloatArray:
    """The same for explicit symmetric cost matrices (any scale and offset)."""
    a, b = plan.sum(1), plan.sum(0)
    x, y = cost_x - a @ cost_x @ a, cost_y - b @ cost_y @ b
    x, y = x / np.sqrt(a @ x**2 @ a), y / np.sqrt(b @ y**2 @ b)
    conditional = plan / a[:, None]
    found = x**2 @ a + conditional @ (y**2 @ b) - 2 * (conditional * (x @ plan @ y)).sum(1)
    return found.clip(min=0).astype(np.float32)


def _features(side: Side) -> list[FloatArray]:
    """``F = [1, |phi|^2, phi]`` of each view, in float64 because distances are differences of these."""
    found = []
    for v, points in enumerate(side.views()):
        ones = torch.ones_like(side.norms[:, :1])
        found.append(torch.cat([ones, side.norms[:, v : v + 1], points], 1).double().cpu().numpy())
    return found


def _standardised(moments: FloatArray) -> FloatArray:
    """The matrix B with ``F B F^T`` the squared distances at mean 0 and SD 1, from ``F^T diag(mass) F``."""
    form = np.diag(np.full(len(moments), -2.0))
    form[:2, :2] = [[0, 1], [1, 0]]
    form[0, 0] -= moments[0] @ form @ moments[0]
    variance = float(np.sum((form @ moments @ form) * moments))
    return form / np.sqrt(max(variance, 1e-12))


def _quadratic(features: FloatArray, form: FloatArray) -> FloatArray:
    found: FloatArray = ((features @ form) * features).sum(1)
    return found
