"""Training from rows to weights, codes and everything that is reported about them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from saescape._threads import one_thread
from saescape._warnings import ConvergenceWarning, SignificanceWarning

from ._calibrate import calibrate_threshold
from ._data import IN_MEMORY_BYTES, TrainingRows
from ._encode import encode_rows
from ._initialise import initial_parameters
from ._parameters import Standardizer
from ._trainer import Trainer

if TYPE_CHECKING:
    from saescape._rows import RowSource
    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._defaults import Plan
    from ._encode import Encoded
    from ._weights import SaeWeights

_N_LOGS = 100
_N_EVALUATIONS = 10
_EVALUATION_ROWS = 2_048
_MIN_SAMPLE = 2_048
# multiplications of an encoder product below which a second thread saves nothing
_SMALL_PRODUCT = 2**24
# above this share of the alive features a code is hardly sparse
_DENSE_SHARE = 0.1


@dataclass(frozen=True)
class Fit:
    """Result of :func:`fit_rows`."""

    weights: SaeWeights
    history: pd.DataFrame
    features: pd.DataFrame
    metrics: dict[str, float]
    encoded: Encoded


def fit_rows(
    rows: RowSource,
    plan: Plan,
    moments: tuple[FloatArray, FloatArray],
    held_out: BoolArray,
    *,
    rng: np.random.Generator,
    device: torch.device,
    groups: IntArray | None = None,
    show_progress_bar: bool = False,
    max_bytes: int = IN_MEMORY_BYTES,
) -> Fit:
    """Train, calibrate and encode.

    Parameters
    ----------
    rows
        Observations, finite.
    plan
        Complete settings.
    moments
        Mean and variance of each dimension over all rows.
    held_out
        Mask of the observations that are only evaluated.
    groups
        Group number of each observation; held-out observations make up whole groups then.
    """
    sampling, order = rng.spawn(2)
    data = TrainingRows(rows, held_out, device, max_bytes)
    standardizer = Standardizer(plan.standardize, *moments)
    mean, inverse = standardizer.tensors(device)
    trainer = make_trainer(data, plan, standardizer, sampling)
    evaluation = (data.held_out_sample(_EVALUATION_ROWS, sampling) - mean) * inverse
    small = plan.batch_size * plan.n_features * rows.n_dims <= _SMALL_PRODUCT
    with one_thread(when=small and device.type == "cpu"):
        history = _train(trainer, data, standardizer, evaluation, order, show_progress_bar)

    weights = finished_weights(trainer, standardizer, rows, ~held_out)
    numbers = held_out.astype(np.int64) if groups is None else groups
    encoded = encode_rows(rows, weights, device, numbers, scale=standardizer.scale)
    features = feature_table(encoded)
    metrics = _fit_metrics(encoded, held_out, groups) | {"n_steps": float(plan.n_steps)}
    return Fit(weights, history, features, metrics, encoded)


def make_trainer(
    data: TrainingRows, plan: Plan, standardizer: Standardizer, rng: np.random.Generator, *, endless: bool = False
) -> Trainer:
    """A trainer whose decoder rows start from data."""
    on_cpu = torch.device("cpu")
    mean, inverse = standardizer.tensors(on_cpu)
    sample = (data.sample(max(plan.n_features, _MIN_SAMPLE), rng) - mean) * inverse
    b_dec = torch.from_numpy(standardizer.b_dec.astype(np.float32))
    parameters = initial_parameters(sample, b_dec, plan.n_features, plan.k, rng)
    for name in parameters.__annotations__:
        setattr(parameters, name, getattr(parameters, name).to(data.device))
    return Trainer(parameters, plan, endless=endless)


def finished_weights(trainer: Trainer, standardizer: Standardizer, rows: RowSource, train: BoolArray) -> SaeWeights:
    """Weights on raw input, with the threshold calibrated where the architecture has one."""
    plan, device = trainer.plan, trainer.parameters.encoder.device
    fold = partial(standardizer.fold, trainer.parameters, architecture=plan.architecture, k=plan.k)
    if not trainer.selector.calibrated:
        return fold(threshold=None)
    running = getattr(trainer.selector, "threshold", None)
    guess = None if running is None else running * standardizer.code_scale
    weights = fold(threshold=0.0)
    threshold = calibrate_threshold(rows, weights, train, device, guess)
    return replace(weights, threshold=np.full(plan.n_features, threshold, dtype=np.float32))


def _train(
    trainer: Trainer,
    data: TrainingRows,
    standardizer: Standardizer,
    evaluation: torch.Tensor,
    rng: np.random.Generator,
    show_progress_bar: bool,  # noqa: FBT001
) -> pd.DataFrame:
    from tqdm.auto import tqdm

    n_steps, batch_size = trainer.plan.n_steps, trainer.plan.batch_size
    mean, inverse = standardizer.tensors(data.device)
    logs = set(np.unique(np.linspace(1, n_steps, min(n_steps, _N_LOGS)).round().astype(int)).tolist())
    evaluations = set(np.unique(np.linspace(1, n_steps, _N_EVALUATIONS + 1).round().astype(int)).tolist())
    held_out_variance = float((evaluation - evaluation.mean(0)).square().sum())
    batches = data.batches(batch_size, rng)
    history = []
    for t in tqdm(range(1, n_steps + 1), desc="sae", unit="step", disable=not show_progress_bar):
        step = trainer.step((next(batches) - mean).mul_(inverse))
        if t not in logs and t not in evaluations:
            continue
        loss = float(step.loss)
        check_loss(loss, t)
        evaluated = t in evaluations and held_out_variance > 0
        history.append(
            {
                "step": t,
                "loss": loss,
                "fvu": loss / standardizer.total_variance,
                "l0": float(step.n_active) / batch_size,
                "n_dead": step.n_dead,
                "lr": step.lr,
                "fvu_held_out": trainer.squared_error(evaluation) / held_out_variance if evaluated else np.nan,
            }
        )
    table = pd.DataFrame(history)
    table.index = table.index.astype(str)
    return table


def check_loss(loss: float, step: int) -> None:
    """Raise when training has diverged."""
    if not np.isfinite(loss):
        msg = (
            f"Training diverged: the loss is {loss} at step {step}. Lower `lr`, or look for extreme values in the data "
            "(`standardize='zscore'` helps when single dimensions are much larger than the others)."
        )
        raise ValueError(msg)


def feature_table(encoded: Encoded) -> pd.DataFrame:
    """What is known about each feature from the rows encoded (positions count as rows)."""
    n = encoded.n_active
    return pd.DataFrame(
        {
            "frac_active": n / encoded.n_rows,
            "mean_active": encoded.total / np.maximum(n, 1),
            "max_activation": encoded.maximum.astype(np.float64),
            "dead": n == 0,
        },
        index=[f"sae_{i}" for i in range(len(n))],
    )


def code_metrics(encoded: Encoded) -> dict[str, float]:
    """Sparsity of the codes."""
    m = len(encoded.n_active)
    n_dead = int((encoded.n_active == 0).sum())
    return {
        "l0": encoded.l0,
        "l0_share_alive": encoded.l0 / (m - n_dead) if n_dead < m else float("nan"),
        "n_dead": float(n_dead),
        "n_features": float(m),
    }


def _fit_metrics(encoded: Encoded, held_out: BoolArray, groups: IntArray | None) -> dict[str, float]:
    numbers = held_out.astype(np.int64) if groups is None else groups
    is_held_out = np.zeros(len(encoded.group_rows), dtype=bool)
    is_held_out[np.unique(numbers[held_out])] = True
    return {
        "fvu": encoded.fvu(is_held_out),
        "fvu_train": encoded.fvu(~is_held_out),
        **code_metrics(encoded),
        "n_held_out": float(held_out.sum()),
        "n_train": float((~held_out).sum()),
    }


def warn_about(metrics: dict[str, float]) -> None:
    """Warn when the metrics say that the features should not be used as they are."""
    if metrics["fvu"] >= 1:
        msg = (
            f"The autoencoder reconstructs held-out data no better than their mean (FVU {metrics['fvu']:.2f} after "
            f"{metrics['n_steps']:.0f} steps). Raise `max_epochs` or `k`, or lower `n_features`."
        )
        warnings.warn(msg, ConvergenceWarning, stacklevel=3)
    share = metrics["l0_share_alive"]
    if share > _DENSE_SHARE:
        msg = (
            f"{metrics['l0']:.1f} features are active on average, {share:.0%} of those that are alive "
            f"({metrics['n_features'] - metrics['n_dead']:.0f}): above {_DENSE_SHARE:.0%} the code is hardly sparse. "
            "Lower `k` or raise `n_features`."
        )
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
