"""Training from rows to weights, codes and everything that is reported about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from saescape._random import child_seed
from saescape._threads import one_thread

from ._calibrate import calibrate_threshold
from ._communicator import ALONE
from ._data import IN_MEMORY_BYTES, TrainingRows
from ._encode import encode_rows
from ._initialise import initial_parameters
from ._loop import Loop
from ._parameters import Standardizer
from ._report import feature_table, fit_metrics
from ._trainer import Trainer
from .architectures import make_architecture

if TYPE_CHECKING:
    import pandas as pd

    from saescape._rows import RowSource
    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._checkpoint import Checkpoint
    from ._communicator import Communicator
    from ._defaults import Plan
    from ._encode import Encoded
    from ._parameters import Parameters
    from ._weights import SaeWeights
    from .architectures import Architecture

_EVALUATION_ROWS = 2_048
_MIN_SAMPLE = 2_048
# multiplications of an encoder product below which a second thread saves nothing
_SMALL_PRODUCT = 2**24


@dataclass(frozen=True)
class Fit:
    """Result of :func:`fit_rows`."""

    weights: SaeWeights
    history: pd.DataFrame
    features: pd.DataFrame
    metrics: dict[str, float]
    encoded: Encoded


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
        small = n_rows * plan.n_features * self.rows.n_dims <= _SMALL_PRODUCT
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
    """
    sampling, seed = np.random.default_rng(child_seed(rng)), child_seed(rng)
    standardizer = Standardizer(plan.standardize, *moments)
    training = Training(
        rows, held_out, plan, standardizer, sampling, seed, device, max_bytes, checkpoint, show_progress_bar
    )
    trained = training(communicator) if n_spawned == 1 else _spawned(training, n_spawned)
    weights = finished_weights(trained, standardizer, rows, ~held_out)
    numbers = held_out.astype(np.int64) if groups is None else groups
    encoded = encode_rows(rows, weights, device, numbers, scale=standardizer.scale)
    features = feature_table(encoded, trained.architecture)
    metrics = fit_metrics(encoded, weights, standardizer.scale, held_out, groups) | {"n_steps": float(trained.n_steps)}
    return Fit(weights, trained.history, features, metrics, encoded)


def _spawned(training: Training, n: int) -> Trained:
    from ._spawn import spawn

    trained = spawn(training, n, training.device.type)
    return replace(trained, parameters=trained.parameters.to(training.device))


def make_trainer(
    data: TrainingRows,
    plan: Plan,
    standardizer: Standardizer,
    rng: np.random.Generator,
    *,
    endless: bool = False,
    communicator: Communicator = ALONE,
) -> Trainer:
    """A trainer whose decoder rows start from data."""
    on_cpu = torch.device("cpu")
    mean, inverse = standardizer.tensors(on_cpu)
    sample = (data.sample(max(plan.n_features, _MIN_SAMPLE), rng) - mean) * inverse
    b_dec = torch.from_numpy(standardizer.b_dec.astype(np.float32))
    architecture = make_architecture(plan.architecture, plan.k, plan.n_features)
    parameters = communicator.share(initial_parameters(sample, b_dec, architecture, rng))
    return Trainer(parameters.to(data.device), plan, endless=endless, communicator=communicator)


def finished_weights(
    trained: Trained | Trainer, standardizer: Standardizer, rows: RowSource, train: BoolArray
) -> SaeWeights:
    """Weights on raw input, with the threshold calibrated where the architecture has one."""
    plan, device = trained.plan, trained.parameters.encoder.device
    fold = partial(standardizer.fold, trained.parameters, architecture=plan.architecture, k=plan.k)
    weights = fold()
    if plan.architecture == "jumprelu" and plan.l1_coef is None:
        # what the penalty has left to do
        factor = calibrate_threshold(rows, weights, train, device, units=weights.threshold)
        return replace(weights, threshold=weights.threshold * np.float32(factor))
    if not trained.architecture.calibrated:
        return weights
    running = trained.architecture.state().get("threshold")
    guess = None if running is None else running * standardizer.code_scale
    threshold = calibrate_threshold(rows, weights, train, device, guess)
    return replace(weights, threshold=np.full(plan.n_features, threshold, dtype=np.float32))
