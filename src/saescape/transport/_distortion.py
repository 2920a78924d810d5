"""How badly each cell's distances are kept by a coupling: the cell's share of the loss.

With costs standardised under the marginals, ``D_i = sum_j P(j|i) sum_kl P_kl (x_ik - y_jl)^2`` is what remains of the
distances of cell i after the coupling; its mean over the cells is the loss ``2 (1 - r)``. As in `_relaxed`, each cost
matrix is ``F B F^T``, so that each cell needs second moments of the features and its own conditional means only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ._relaxed import cost_features, standard_form

if TYPE_CHECKING:
    from saescape._typing import FloatArray

    from ._problem import Side


def distortion_target(y: Side, mass: FloatArray) -> FloatArray:
    """Columns `(n_ref, d)` whose conditional means `distortion` takes; `mass` is the plan's column marginal."""
    columns = []
    for features in _features(y):
        form, moments = _standardised(features, mass)
        columns.append(np.column_stack([features, _quadratic(features, form @ moments @ form)]))
    return np.concatenate(columns, 1).astype(np.float32)


def distortion(x: Side, y: Side, row_mass: FloatArray, column_mass: FloatArray, moved: FloatArray) -> FloatArray:
    """Distortion of each cell of `x` `(n,)`, averaged over the views; `moved` are the target's conditional means."""
    features_x, features_y = _features(x), _features(y)
    parts = np.split(np.asarray(moved, np.float64), np.cumsum([f.shape[1] + 1 for f in features_y])[:-1], axis=1)
    views = []
    for f_x, f_y, part in zip(features_x, features_y, parts, strict=True):
        partner, square_y = part[:, :-1], part[:, -1]
        form_x, moments = _standardised(f_x, row_mass)
        form_y, _ = _standardised(f_y, column_mass)
        across = (f_x * row_mass[:, None]).T @ partner
        product = ((f_x @ (form_x @ across @ form_y)) * partner).sum(1)
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
    """Features of each view in float64, because distances are differences of these."""
    return [features.double().cpu().numpy() for features in cost_features(side)]


def _standardised(features: FloatArray, mass: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The matrix B with ``F B F^T`` the squared distances at mean 0 and SD 1, and the features' second moments."""
    moments = features.T @ (features * mass[:, None])
    form, sd = standard_form(torch.from_numpy(moments))
    return (form / sd).numpy(), moments


def _quadratic(features: FloatArray, form: FloatArray) -> FloatArray:
    found: FloatArray = ((features @ form) * features).sum(1)
    return found
