"""Training that goes on as long as there are rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ._data import TrainingRows
from ._defaults import DEAD_WINDOW, make_plan
from ._encode import encode_rows
from ._fit import finished_weights
from ._loop import check_loss
from ._parameters import Standardizer
from ._report import code_metrics, feature_table
from ._start import make_trainer
from ._trainer import Trainer

if TYPE_CHECKING:
    import torch

    from saescape._rows import RowSource
    from saescape._typing import FloatArray

    from ._weights import SaeWeights


class Update(NamedTuple):
    """What is known after some rows."""

    weights: SaeWeights
    history: pd.DataFrame
    features: pd.DataFrame
    metrics: dict[str, float]


@dataclass
class Session:
    """Optimiser, scale and random state between calls."""

    trainer: Trainer
    standardizer: Standardizer
    rng: np.random.Generator
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        rows: RowSource,
        moments: tuple[FloatArray, FloatArray],
        weights: SaeWeights | None,
        rng: np.random.Generator,
        device: torch.device,
        settings: dict[str, Any],
    ) -> Session:
        """Begin from the rows, or from trained weights."""
        if weights is not None:
            settings = settings | {"n_features": weights.n_features, "k": weights.k}
        plan = replace(make_plan(rows.n_rows, rows.n_dims, **settings), dead_window=DEAD_WINDOW)
        standardizer = Standardizer(plan.standardize, *moments)
        if weights is not None:
            parameters = standardizer.unfold(weights, device)
            return cls(Trainer(parameters, plan, endless=True), standardizer, rng)
        data = TrainingRows(rows, np.zeros(rows.n_obs, dtype=bool), device)
        return cls(make_trainer(data, plan, standardizer, rng, endless=True), standardizer, rng)

    def update(self, rows: RowSource, n_passes: int, device: torch.device) -> Update:
        """Train on all rows, `n_passes` times, in random order."""
        trainer = self.trainer
        data = TrainingRows(rows, np.zeros(rows.n_obs, dtype=bool), device)
        mean, inverse = self.standardizer.tensors(device)
        batch_size = min(trainer.plan.batch_size, data.n_train)
        n_steps = max(1, n_passes * data.n_train // batch_size)
        batches = data.batches(batch_size, self.rng)
        for _ in range(n_steps):
            step = trainer.step((next(batches) - mean).mul_(inverse))
        loss = float(step.loss)
        check_loss(loss, trainer.t)
        self.history.append(
            {
                "step": trainer.t,
                "loss": loss,
                "fvu": loss / self.standardizer.total_variance,
                "l0": float(step.n_active) / batch_size,
                "n_dead": step.n_dead,
                "lr": step.lr,
                "fvu_held_out": np.nan,
            }
        )
        history = pd.DataFrame(self.history)
        history.index = history.index.astype(str)
        weights = finished_weights(trainer, self.standardizer, rows, np.ones(rows.n_obs, dtype=bool))
        encoded = encode_rows(rows, weights, device, scale=self.standardizer.scale)
        metrics = {"fvu": encoded.fvu(), **code_metrics(encoded), "n_train": float(rows.n_obs), "n_steps": trainer.t}
        return Update(weights, history, feature_table(encoded), metrics)
