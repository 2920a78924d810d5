"""What is said about a fitted model: tables, numbers and warnings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from saescape._warnings import ConvergenceWarning, SignificanceWarning

if TYPE_CHECKING:
    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._defaults import Plan
    from ._encode import Encoded
    from ._weights import SaeWeights
    from .architectures import Architecture

# above this share of the alive features a code is hardly sparse
_DENSE_SHARE = 0.1
# share of the held-out error that the last fifth of the steps at full learning rate may still take away
_LATE_GAIN = 0.2
# how far the L0 may be off before it is said
_L0_TOLERANCE = 0.1
DUPLICATE_COSINE = 0.95
# above this share of the alive features duplicates are worth a warning
_DUPLICATE_SHARE = 0.2
_BLOCK = 1024


def feature_table(encoded: Encoded, architecture: Architecture | None = None) -> pd.DataFrame:
    """What is known about each feature from the rows encoded (positions count as rows)."""
    n = encoded.n_active
    table = pd.DataFrame(
        {
            "frac_active": n / encoded.n_rows,
            "mean_active": encoded.total / np.maximum(n, 1),
            "max_activation": encoded.maximum.astype(np.float64),
            "dead": n == 0,
        },
        index=[f"sae_{i}" for i in range(len(n))],
    )
    if architecture is not None and len(architecture.prefixes) > 1:
        table["level"] = np.searchsorted(architecture.prefixes, np.arange(len(n)), side="right")
    return table


def code_metrics(encoded: Encoded) -> dict[str, float]:
    """Sparsity of the codes."""
    m = len(encoded.n_active)
    n_dead = int((encoded.n_active == 0).sum())
    return {
        "l0": encoded.l0,
        "l0_share_alive": encoded.l0 / (m - n_dead) if n_dead < m else float("nan"),
        "n_dead": float(n_dead),
        "dead_share": n_dead / m,
        "n_features": float(m),
    }


def fit_metrics(
    encoded: Encoded, weights: SaeWeights, scale: FloatArray, held_out: BoolArray, groups: IntArray | None
) -> dict[str, float]:
    """Numbers of :func:`code_metrics`, errors on rows trained on and held out, and near duplicates.

    Parameters
    ----------
    scale
        Units of the dimensions, in which directions are compared.
    """
    is_held_out = held_out_groups(encoded, held_out, groups)
    metrics = {
        "fvu": encoded.fvu(is_held_out),
        "fvu_train": encoded.fvu(~is_held_out),
        **code_metrics(encoded),
        "n_duplicates": float(count_duplicates((weights.W_dec / scale)[encoded.n_active > 0])),
        "n_held_out": float(held_out.sum()),
        "n_train": float((~held_out).sum()),
    }
    if weights.threshold is not None:
        metrics["threshold"] = float(weights.threshold[encoded.n_active > 0].mean()) if encoded.n_active.any() else 0.0
    return metrics


def late_gain(history: pd.DataFrame) -> float:
    """Share of the held-out error that the fifth of the steps took away after which the learning rate went down."""
    measured = history.dropna(subset=["fvu_held_out"])
    last = history["step"].iloc[-1]
    before = [measured.loc[measured["step"] <= share * last, "fvu_held_out"] for share in (0.6, 0.8)]
    if any(part.empty for part in before):
        return float("nan")
    earlier, later = (float(part.iloc[-1]) for part in before)
    return 1 - later / earlier if earlier > 0 else 0.0


def held_out_groups(encoded: Encoded, held_out: BoolArray, groups: IntArray | None) -> BoolArray:
    """Mask of the groups of `encoded` that were not trained on."""
    numbers = held_out.astype(np.int64) if groups is None else groups
    mask = np.zeros(len(encoded.group_rows), dtype=bool)
    mask[np.unique(numbers[held_out])] = True
    return mask


def input_table(encoded: Encoded, groups: BoolArray, names: np.ndarray) -> pd.DataFrame:
    """Variance of each input dimension in some groups, and the share of it that the codes explain."""
    variance = encoded.dim_variance[groups].sum(0)
    explained = 1 - encoded.dim_error[groups].sum(0) / np.where(variance > 0, variance, np.nan)
    n = max(int(encoded.group_rows[groups].sum()), 1)
    return pd.DataFrame({"variance": variance / n, "explained_variance": explained}, index=names)


def count_duplicates(directions: FloatArray) -> int:
    """Rows that have a cosine above .95 with another one."""
    rows = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    count = 0
    for start in range(0, len(rows), _BLOCK):
        cosines = rows[start : start + _BLOCK] @ rows.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = 0.0
        count += int((cosines > DUPLICATE_COSINE).any(1).sum())
    return count


def warn_unconverged(n: int, n_rows: int) -> None:
    """Warn when sparse inference was stopped on some rows before it was done."""
    if n:
        msg = (
            f"{n} of {n_rows} rows did not converge; their codes may have a few features too many. Ask for fewer "
            "active features: a larger penalty converges faster."
        )
        warnings.warn(msg, ConvergenceWarning, stacklevel=3)


def warn_about(metrics: dict[str, float], plan: Plan | None = None, *, penalised: bool = False) -> None:
    """Warn when the metrics say that the features should not be used as they are."""
    if metrics["fvu"] >= 1:
        msg = (
            f"The autoencoder reconstructs held-out data no better than their mean (FVU {metrics['fvu']:.2f} after "
            f"{metrics['n_steps']:.0f} steps). Raise `max_epochs` or `k`, or lower `n_features`."
        )
        warnings.warn(msg, ConvergenceWarning, stacklevel=3)
    if metrics.get("late_gain", 0.0) > _LATE_GAIN:
        msg = (
            f"Training has not converged: its last fifth before the learning rate went down still took away "
            f"{metrics['late_gain']:.0%} of the held-out error ({metrics['n_steps']:.0f} steps). Raise `max_epochs`."
        )
        warnings.warn(msg, ConvergenceWarning, stacklevel=3)
    l0 = metrics["l0"]
    if plan is not None and penalised and plan.l1_coef is None and abs(l0 / plan.k - 1) > _L0_TOLERANCE:
        msg = (
            f"The penalty could not be tuned: {l0:.1f} features are active on average where {plan.k} were asked for, "
            f"after {metrics['n_steps']:.0f} steps. Raise `max_epochs`, or use `architecture='topk'`."
        )
        warnings.warn(msg, ConvergenceWarning, stacklevel=3)
    share = metrics["l0_share_alive"]
    alive = metrics["n_features"] - metrics["n_dead"]
    if share > _DENSE_SHARE:
        msg = (
            f"{l0:.1f} features are active on average, {share:.0%} of those that are alive "
            f"({alive:.0f}): above {_DENSE_SHARE:.0%} the code is hardly sparse. Lower `k` or raise `n_features`."
        )
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
    n_duplicates = metrics.get("n_duplicates", 0.0)
    if n_duplicates > _DUPLICATE_SHARE * alive:
        msg = (
            f"{n_duplicates:.0f} of {alive:.0f} features are near duplicates of another (cosine above "
            f"{DUPLICATE_COSINE}): the same thing is coded more than once. Lower `n_features`."
        )
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
