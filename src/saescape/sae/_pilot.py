"""Short run that chooses the number of active features before the real training."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import torch

from saescape._random import child_seed
from saescape._threads import SMALL_PRODUCT, one_thread

from ._choose_k import choose_k, description_length
from ._defaults import default_lr
from ._start import make_trainer
from .architectures import make_architecture

if TYPE_CHECKING:
    import numpy as np

    from ._choose_k import ChosenK
    from ._communicator import Communicator
    from ._data import TrainingRows
    from ._defaults import Plan
    from ._parameters import Standardizer
    from ._trainer import Trainer

_BATCH_SIZE = 256
_FIRST_STEPS = 320
_STEPS = 160
_EVALUATION_ROWS = 2_048


def with_chosen_k(
    data: TrainingRows, plan: Plan, standardizer: Standardizer, rng: np.random.Generator, communicator: Communicator
) -> tuple[Plan, pd.DataFrame]:
    """The plan with the number of active features that a pilot run finds, and what it tried.

    It is looked for up to the plan's own number, which stays where descriptions only get shorter up to there. Where one
    active feature has the shortest, as in a clustering, nothing was found either, but that it should be few: then the
    geometric mean of two and the plan's number is taken.
    """
    small = _BATCH_SIZE * plan.n_features * data.source.n_dims <= SMALL_PRODUCT
    with one_thread(when=small and data.device.type == "cpu"):
        chosen = pilot_k(data, plan, standardizer, rng)
    if communicator.world_size > 1:
        # processes on different machines may round differently
        chosen = communicator.share(chosen)
    table = pd.DataFrame({"k": chosen.tried, "bits": chosen.bits}, index=[str(i) for i in range(len(chosen.tried))])
    if chosen.is_minimum:
        plan = replace(plan, k=chosen.k, k_found=True)
    elif chosen.only_grows:
        plan = replace(plan, k=min(plan.k, max(2, round(math.sqrt(2 * plan.k)))))
    return plan, table


def pilot_k(data: TrainingRows, plan: Plan, standardizer: Standardizer, rng: np.random.Generator) -> ChosenK:
    """Number of active features per row with the shortest description of rows that are held out.

    One `topk` run at constant learning rate, whatever the architecture: 320 steps with one active feature and 160
    with each of 2, 4, 8, ... until descriptions become longer (:func:`choose_k`), with batches of 256 rows. These are
    up to 1,120 steps: about half the rows of a default training, nearly all of them where rows are few. Shorter runs
    leave the dictionary so far from its end that descriptions mislead.

    Parameters
    ----------
    data
        Rows to train on and rows that are held out.
    plan
        Settings of the training to come; its `k` is the largest number tried.
    standardizer
        What is done to rows before they are trained on.
    """
    batch_size = min(_BATCH_SIZE, data.n_train)
    short = replace(
        plan,
        architecture="topk",
        k=1,
        batch_size=batch_size,
        lr=min(plan.lr, default_lr(batch_size, plan.n_features)),
        l1_coef=None,
    )
    mean, inverse = standardizer.tensors(data.device)
    trainer = make_trainer(data, short, standardizer, rng, endless=True)
    evaluation = (data.held_out_sample(_EVALUATION_ROWS, rng) - mean) * inverse
    batches = data.batches(batch_size, child_seed(rng))

    def measure(k: int) -> float:
        trainer.architecture = make_architecture("topk", k, plan.n_features)
        for _ in range(_FIRST_STEPS if k == 1 else _STEPS):
            trainer.step((next(batches) - mean).mul_(inverse))
        return _bits(trainer, evaluation)

    return choose_k(measure, plan.k)


@torch.no_grad()
def _bits(trainer: Trainer, x: torch.Tensor) -> float:
    p = trainer.parameters
    columns, values = [], []
    for part in x.split(trainer.plan.batch_size):
        active = trainer.architecture.infer(torch.addmm(p.b_enc, part - p.b_dec, p.encoder.t()), p.learned())
        columns.append(active.cols)
        values.append(active.values.relu())
    n, d = x.shape
    return description_length(
        torch.cat(columns).cpu().numpy(),
        torch.cat(values).cpu().numpy(),
        n_rows=n,
        n_features=len(p.encoder),
        n_dims=d,
        error=trainer.squared_error(x) / (n * d),
    )
