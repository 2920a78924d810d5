"""The steps of a training run, with everything that happens between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ._communicator import ALONE
from ._plateau import Plateau

if TYPE_CHECKING:
    from ._checkpoint import Checkpoint
    from ._communicator import Communicator
    from ._data import TrainingRows
    from ._parameters import Standardizer
    from ._trainer import Step, Trainer

_N_LOGS = 100
_N_EVALUATIONS = 20


def _spread(n_steps: int, n: int, first: int = 1) -> set[int]:
    """About `n` steps evenly from `first` to the last one."""
    return set(np.unique(np.linspace(min(first, n_steps), n_steps, min(n_steps, n)).round().astype(int)).tolist())


@dataclass
class Loop:
    """A training run over given rows.

    Parameters
    ----------
    trainer
        Parameters and optimiser.
    data
        Rows trained on.
    standardizer
        What is done to rows before they are trained on.
    evaluation
        Standardised rows that are held out.
    seed
        Of the order of the rows.
    min_steps
        Training is never ended before, however little it brings; None for never at all.
    checkpoint
        Where the state is kept, and from where it is continued. Only the first process writes it.
    communicator
        Processes that share every batch.
    """

    trainer: Trainer
    data: TrainingRows
    standardizer: Standardizer
    evaluation: torch.Tensor
    seed: int
    min_steps: int | None = None
    checkpoint: Checkpoint | None = None
    communicator: Communicator = ALONE
    history: list[dict[str, float]] = field(default_factory=list)

    def run(self, *, show_progress_bar: bool = False) -> pd.DataFrame:
        """Take all steps; returns the history."""
        from tqdm.auto import tqdm

        trainer, batch_size = self.trainer, self.trainer.plan.batch_size
        mean, inverse = self.standardizer.tensors(self.data.device)
        self._plateau = Plateau()
        self._sum = torch.zeros((), device=self.data.device)
        self._variance = float((self.evaluation - self.evaluation.mean(0)).square().sum())
        position = self._resume()
        rank, world_size = self.communicator.rank, self.communicator.world_size
        batches = self.data.batches(batch_size, self.seed, state=position, rank=rank, world_size=world_size)
        writes = self.checkpoint is not None and rank == 0
        planned = trainer.plan.n_steps
        logs, evaluations = _spread(planned, _N_LOGS), _spread(planned, _N_EVALUATIONS + 1)
        with tqdm(
            total=trainer.n_steps, initial=trainer.t, desc="sae", unit="step", disable=not show_progress_bar or rank > 0
        ) as bar:
            while trainer.t < _end(trainer):
                step = trainer.step((next(batches) - mean).mul_(inverse))
                self._sum += step.loss
                t, last = trainer.t, trainer.t == trainer.n_steps
                bar.update()
                if t in logs or t in evaluations or last:
                    self._log(step, evaluate=t in evaluations or last)
                    bar.set_postfix_str(_progress(self.history[-1], trainer.plan.n_features))
                    if t in evaluations and not last and self._is_done():
                        trainer.cool_down()
                        bar.total = trainer.n_steps
                if self.checkpoint is not None and writes and (last or self.checkpoint.due()):
                    # what is written must be good
                    check_loss(float(step.loss), t, self.checkpoint)
                    self.checkpoint.save(trainer.tensors() | {"loss_sum": self._sum}, self._numbers(batches.state()))
        self.communicator.barrier()
        table = pd.DataFrame(self.history)
        table.index = table.index.astype(str)
        return table

    def _log(self, step: Step, *, evaluate: bool) -> None:
        trainer = self.trainer
        loss = float(step.loss)
        check_loss(loss, trainer.t, self.checkpoint)
        evaluate = evaluate and self._variance > 0
        self.history.append(
            {
                "step": trainer.t,
                "loss": loss,
                "fvu": loss / self.standardizer.total_variance,
                "l0": float(step.n_active) / trainer.plan.batch_size,
                "n_dead": step.n_dead,
                "lr": step.lr,
                "fvu_held_out": trainer.squared_error(self.evaluation) / self._variance if evaluate else math.nan,
            }
        )

    def _is_done(self) -> bool:
        """Whether nothing is gained any more at this learning rate."""
        total = float(self._sum)
        self._sum.zero_()
        reached = self._plateau.reached(total, self.history[-1]["fvu_held_out"])
        t, n_steps = self.trainer.t, _end(self.trainer)
        # of no use once the rate goes down anyway
        return self.min_steps is not None and reached and self.min_steps <= t < 0.75 * n_steps

    def _numbers(self, position: dict[str, int]) -> dict[str, Any]:
        # JSON knows no NaN
        history = [{k: None if v != v else v for k, v in row.items()} for row in self.history]
        return {
            "trainer": self.trainer.numbers(),
            "position": position,
            "history": history,
            "plateau": self._plateau.errors,
        }

    def _resume(self) -> dict[str, int] | None:
        position = self._load()
        steps = self.communicator.gather(torch.tensor(self.trainer.t, device=self.data.device)).tolist()
        if len(set(steps)) > 1:
            msg = (
                f"Processes would continue from different steps ({steps}); `checkpoint` has to be a file that all of "
                "them can read."
            )
            raise ValueError(msg)
        return position

    def _load(self) -> dict[str, int] | None:
        if self.checkpoint is None or not self.checkpoint.exists:
            return None
        tensors, numbers = self.checkpoint.load()
        self.trainer.restore(tensors, numbers["trainer"])
        self._sum.copy_(tensors["loss_sum"])
        self._plateau.errors = numbers["plateau"]
        self.history = [{k: math.nan if v is None else v for k, v in row.items()} for row in numbers["history"]]
        return dict(numbers["position"])


def _end(trainer: Trainer) -> int:
    return trainer.plan.n_steps if trainer.n_steps is None else trainer.n_steps


def _progress(row: dict[str, float], n_features: int) -> str:
    return f"FVU {row['fvu']:.3f}, L0 {row['l0']:.1f}, dead {row['n_dead'] / n_features:.0%}"


def check_loss(loss: float, step: int, checkpoint: Checkpoint | None = None) -> None:
    """Raise when training has diverged."""
    if np.isfinite(loss):
        return
    kept = ""
    if checkpoint is not None and checkpoint.path.exists():
        kept = f" The state before that is in {str(checkpoint.path)!r}; delete the file to start anew."
    msg = (
        f"Training diverged: the loss is {loss} at step {step}. Lower `lr`, or look for extreme values in the data "
        f"(`standardize='zscore'` helps when single dimensions are much larger than the others).{kept}"
    )
    raise ValueError(msg)
