"""Training from rows to weights, codes and everything that is reported about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from saescape._random import child_seed
from saescape._threads import SMALL_PRODUCT, one_thread

from ._calibrate import calibrate_threshold
from ._communicator import ALONE
from ._data import IN_MEMORY_BYTES, TrainingRows
from ._infer_rows import infer_rows, tune_rule
from ._loop import Loop
from ._parameters import Standardizer
from ._pilot import with_chosen_k
from ._report import feature_table, fit_metrics, late_gain
from ._rule import CodingRule
from ._start import make_trainer
from .architectures import make_architecture

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from saescape._rows import RowSource
    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._checkpoint import Checkpoint
    from ._communicator import Communicator
    from ._defaults import Plan
    from ._encode import Encoded
    from ._parameters import Parameters
    from ._trainer import Trainer
    from ._weights import SaeWeights
    from .architectures import Architecture

_EVALUATION_ROWS = 2_048


@dataclass(frozen=True)
class Fit:
    """Result of :func:`fit_rows`."""

    weights: SaeWeights
    history: pd.DataFrame
    features: pd.DataFrame
    metrics: dict[str, float]
    encoded: Encoded
    #: with the number of active features that was chosen
    plan: Plan
    rule: CodingRule
    #: rows on which sparse inference was stopped before it was done
    n_unconverged: int
    #: bits per row for each number of active features tried; None when the number was given
    pilot: pd.DataFrame | None


@dataclass(frozen=True)
class Trained:
    """Result of :class:`Training`."""

    parameters: Parameters
    plan: Plan
    architecture: Architecture
    history: pd.DataFrame
    n_steps: int


@dataclass(frozen=True)
class Training:
    """What a process needs to train, alone or together with others.

    Parameters
    ----------
    rows, held_out, plan, max_bytes, checkpoint, show_progress_bar
        As in :func:`fit_rows`.
    standardizer
        What is done to rows before they are trained on.
    sampling
        Generator of the first parameters and of the rows for evaluation; all processes have the same.
    seed
        Of the order of the rows.
    device
        Where a process that trains alone computes.
    """

    rows: RowSource
    held_out: BoolArray
    plan: Plan
    standardizer: Standardizer
    sampling: np.random.Generator
    seed: int
    device: torch.device
    max_bytes: int
    checkpoint: Checkpoint | None
    show_progress_bar: bool

    def __call__(self, communicator: Communicator = ALONE) -> Trained:
        """Train; every process gets the same result."""
        plan, device = self.plan, communicator.device or self.device
        data = TrainingRows(self.rows, self.held_out, device, self.max_bytes)
        mean, inverse = self.standardizer.tensors(device)
        trainer = make_trainer(data, plan, self.standardizer, self.sampling, communicator=communicator)
        evaluation = (data.held_out_sample(_EVALUATION_ROWS, self.sampling) - mean) * inverse
        n_rows = plan.batch_size // communicator.world_size
        small = n_rows * plan.n_features * self.rows.n_dims <= SMALL_PRODUCT
        with one_thread(when=small and device.type == "cpu"):
            loop = Loop(
                trainer,
                data,
                self.standardizer,
                evaluation,
                self.seed,
                plan.min_steps,
                self.checkpoint,
                communicator,
            )
            history = loop.run(show_progress_bar=self.show_progress_bar)
        # one that does not know of other processes
        architecture = make_architecture(plan.architecture, plan.k, plan.n_features)
        architecture.load_state(trainer.architecture.state())
        return Trained(trainer.parameters, plan, architecture, history, trainer.t)


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
    checkpoint: Checkpoint | None = None,
    communicator: Communicator = ALONE,
    n_spawned: int = 1,
    inference: str = "encoder",
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
    max_bytes
        Larger data are read by blocks.
    checkpoint
        Where the run is kept and continued from; it knows already that it belongs to this run.
    communicator
        Processes that call this together; each gets the same result.
    n_spawned
        Start that many processes to train, instead.
    inference
        How codes are found once the dictionary is learned.
    """
    sampling, seed = np.random.default_rng(child_seed(rng)), child_seed(rng)
    standardizer = Standardizer(plan.standardize, *moments)
    pilot = None
    if plan.choose_k:
        plan, pilot = with_chosen_k(
            # a temporary: training holds the rows once more
            TrainingRows(rows, held_out, device, max_bytes),
            plan,
            standardizer,
            np.random.default_rng(child_seed(rng)),
            communicator,
        )
    training = Training(
        rows, held_out, plan, standardizer, sampling, seed, device, max_bytes, checkpoint, show_progress_bar
    )
    trained = training(communicator) if n_spawned == 1 else _spawned(training, n_spawned)
    weights = finished_weights(trained, standardizer, rows, ~held_out)
    numbers = held_out.astype(np.int64) if groups is None else groups
    rule = CodingRule()
    if inference != "encoder":
        # a number of features that was asked for is kept to; one that was not is left to what describes rows best
        target = None if plan.l1_coef is not None else float(plan.k)
        by_length = pilot is not None and inference == "omp"
        rule = tune_rule(rows, weights, device, inference, l0_target=target, by_length=by_length).rule
        # processes on different machines may round differently
        rule = communicator.share(rule)
    # the encoder is done before a bar would say much
    slow = rule.penalty is not None
    inferred = infer_rows(rows, weights, device, rule, numbers, show_progress_bar=show_progress_bar and slow)
    encoded = inferred.encoded
    features = feature_table(encoded, trained.architecture)
    metrics = fit_metrics(encoded, weights, standardizer.scale, held_out, groups)
    metrics |= {"n_steps": float(trained.n_steps), "late_gain": late_gain(trained.history)}
    if rule.penalty is not None:
        by_encoder = fit_metrics(inferred.by_encoder, weights, standardizer.scale, held_out, groups)
        metrics |= {f"{name}_encoder": by_encoder[name] for name in ("fvu", "l0")}
    return Fit(weights, trained.history, features, metrics, encoded, plan, rule, inferred.n_unconverged, pilot)


def _spawned(training: Training, n: int) -> Trained:
    from ._spawn import spawn

    trained = spawn(training, n, training.device.type)
    return replace(trained, parameters=trained.parameters.to(training.device))


def finished_weights(
    trained: Trained | Trainer, standardizer: Standardizer, rows: RowSource, train: BoolArray
) -> SaeWeights:
    """Weights on raw input, with the threshold calibrated where the architecture has one."""
    plan, device = trained.plan, trained.parameters.encoder.device
    fold = partial(standardizer.fold, trained.parameters, architecture=plan.architecture, k=plan.k)
    weights = fold()
    if weights.threshold is not None and plan.l1_coef is None:
        # what the penalty has left to do
        factor = calibrate_threshold(rows, weights, train, device, units=weights.threshold)
        return replace(weights, threshold=weights.threshold * np.float32(factor))
    if not trained.architecture.calibrated:
        return weights
    running = trained.architecture.state().get("threshold")
    guess = None if running is None else running * standardizer.code_scale
    threshold = calibrate_threshold(rows, weights, train, device, guess)
    return replace(weights, threshold=np.full(plan.n_features, threshold, dtype=np.float32))
