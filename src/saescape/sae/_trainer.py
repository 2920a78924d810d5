from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from ._adam import Adam
from ._communicator import ALONE
from ._defaults import AUX_COEFFICIENT, K_AUX
from ._gradients import batch_gradients
from ._penalty import Penalty
from ._schedule import learning_rate, steps_to_end_from
from ._shared_gradients import share_gradients
from ._sparse import sparse_ops
from .architectures import make_architecture

if TYPE_CHECKING:
    from ._communicator import Communicator
    from ._defaults import Plan
    from ._gradients import Gradients
    from ._parameters import Parameters
    from ._shared_gradients import SharedGradients

# bytes of parameter rows updated at a time, so that gradient, moments and norms are still in cache
_CHUNK_BYTES = 4 * 2**20
_ROWS = ("encoder", "decoder")


class Step(NamedTuple):
    """What one training step reports, left on the device until somebody reads it."""

    loss: torch.Tensor
    n_active: torch.Tensor
    n_dead: int
    lr: float


class Trainer:
    """State of one training run: parameters, moments, counters of silent features.

    Parameters
    ----------
    parameters
        Changed in place.
    plan
        Settings of the run.
    endless
        Keep the learning rate at its peak after warm-up instead of ending after `plan.n_steps`.
    communicator
        Processes that share every batch of `plan.batch_size` rows, and start from the same parameters.
    """

    def __init__(
        self, parameters: Parameters, plan: Plan, *, endless: bool = False, communicator: Communicator = ALONE
    ) -> None:
        self.parameters = parameters
        self.plan = plan
        self._communicator = communicator
        self.n_steps = None if endless else plan.n_steps
        self.t = 0
        device = parameters.encoder.device
        m, d = parameters.encoder.shape
        self.architecture = make_architecture(plan.architecture, plan.k, m)
        if communicator.world_size > 1:
            self.architecture.share_batches(communicator, plan.batch_size)
        self.penalty = self._make_penalty(device)
        named = parameters.named()
        self._rows = Adam([named[name] for name in _ROWS])
        self._vectors = {name: Adam([tensor]) for name, tensor in named.items() if name not in _ROWS}
        # on an accelerator every slice costs a launch and its bounds a wait
        size = max(64, _CHUNK_BYTES // (4 * d)) if device.type == "cpu" else m
        self._bounds = [*range(0, m, size), m]
        self._silent = torch.zeros(m, dtype=torch.long, device=device)
        self._buffer = torch.empty(0, m, device=device)

    def _make_penalty(self, device: torch.device) -> Penalty | None:
        if not self.architecture.penalised:
            return None
        if self.plan.l1_coef is not None:
            return Penalty(self.plan.l1_coef, None, device)
        return Penalty(self.architecture.start_penalty(self.parameters), self.plan.k, device)

    def _encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        p = self.parameters
        if self._buffer.shape[0] != x.shape[0]:
            self._buffer = torch.empty(x.shape[0], p.encoder.shape[0], device=x.device)
        centred = x - p.b_dec
        return centred, torch.addmm(p.b_enc, centred, p.encoder.t(), out=self._buffer)

    @torch.no_grad()
    def step(self, x: torch.Tensor) -> Step:
        """Train on one batch of standardised rows (on this process's part of it)."""
        p = self.parameters
        centred, pre = self._encode(x)
        dead = (self._silent >= self.plan.dead_window).nonzero().view(-1)
        own = batch_gradients(
            self.architecture,
            p,
            centred,
            pre,
            self.architecture.select(pre, p.learned()),
            sparse_ops(x.device),
            penalty=None if self.penalty is None else self.penalty.weight,
            dead=dead,
            k_aux=K_AUX,
            aux_coefficient=AUX_COEFFICIENT,
        )
        grads: Gradients | SharedGradients = own
        n_rows = x.shape[0]
        if self._communicator.world_size > 1:
            n_rows = self.plan.batch_size
            grads = share_gradients(own, x.shape[0] / n_rows, self._communicator)
        self._silent += n_rows
        self._silent.masked_fill_(grads.fired, 0)
        if self.penalty is not None:
            self.penalty.update(grads.n_active, n_rows)

        self.t += 1
        lr = learning_rate(self.plan.lr, self.t, self.n_steps)
        for name, optimiser in self._vectors.items():
            optimiser.next_step()
            optimiser.update([grads.vectors[name]], lr)
        self._rows.next_step()
        cuts = grads.cuts(self._bounds)
        for i, (start, stop) in enumerate(zip(self._bounds[:-1], self._bounds[1:], strict=True)):
            rows = slice(start, stop)
            self._rows.update(grads.rows(start, stop, cuts[i], cuts[i + 1]), lr, rows)
            p.normalise(rows)
        return Step(grads.loss, grads.n_active, dead.numel(), lr)

    @torch.no_grad()
    def squared_error(self, x: torch.Tensor) -> float:
        """Sum of squared errors of standardised rows, coded as new data are."""
        total = 0.0
        rank, world_size = self._communicator.rank, self._communicator.world_size
        if world_size > 1:
            x = x[rank::world_size]
        for start in range(0, x.shape[0], self.plan.batch_size):
            part = x[start : start + self.plan.batch_size]
            centred, pre = self._encode(part)
            active = self.architecture.infer(pre, self.parameters.learned())
            error = sparse_ops(x.device).bag(active.cols, self.parameters.decoder, active.ptr, active.values.relu())
            total += float(error.sub_(centred).square().sum())
        if world_size > 1:
            # in double precision, so that nothing is lost
            total = float(self._communicator.sum(torch.tensor(total, dtype=torch.float64, device=x.device)))
        return total

    def cool_down(self) -> None:
        """Let the learning rate go down from now on, and end then."""
        self.n_steps = steps_to_end_from(self.t)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor of the state by name; they are the ones in use, not copies."""
        state = {f"parameters.{name}": tensor for name, tensor in self.parameters.named().items()}
        optimisers = {**self._vectors, "rows": self._rows}
        for name, optimiser in optimisers.items():
            state |= {f"adam.{name}.{key}": tensor for key, tensor in optimiser.tensors().items()}
        state["silent"] = self._silent
        if self.penalty is not None:
            state |= {f"penalty.{name}": tensor for name, tensor in self.penalty.tensors().items()}
        return state

    def numbers(self) -> dict[str, float]:
        """The rest of the state: plain numbers."""
        end = {} if self.n_steps is None else {"n_steps": self.n_steps}
        return {"t": self.t} | end | {f"architecture.{name}": v for name, v in self.architecture.state().items()}

    def restore(self, tensors: dict[str, torch.Tensor], numbers: dict[str, float]) -> None:
        """Continue from what `tensors` and `numbers` of another run of the same plan returned.

        Raises
        ------
        ValueError
            When tensors are missing or of another shape.
        """
        own = self.tensors()
        wrong = [name for name, tensor in own.items() if name not in tensors or tensors[name].shape != tensor.shape]
        if wrong:
            msg = f"The state lacks tensors of this run, or has them in other shapes: {wrong[:5]}."
            raise ValueError(msg)
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        self.t = int(numbers["t"])
        self.n_steps = int(numbers["n_steps"]) if "n_steps" in numbers else None
        prefix = "architecture."
        self.architecture.load_state(
            {name.removeprefix(prefix): v for name, v in numbers.items() if name.startswith(prefix)}
        )
