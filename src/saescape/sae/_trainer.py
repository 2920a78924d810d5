from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from ._adam import Adam
from ._defaults import AUX_COEFFICIENT, K_AUX
from ._gradients import batch_gradients
from ._schedule import learning_rate
from ._selection import make_selector
from ._sparse import sparse_ops

if TYPE_CHECKING:
    from ._defaults import Plan
    from ._parameters import Parameters

# bytes of parameter rows updated at a time, so that gradient, moments and norms are still in cache
_CHUNK_BYTES = 4 * 2**20


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
    """

    def __init__(self, parameters: Parameters, plan: Plan, *, endless: bool = False) -> None:
        self.parameters = parameters
        self.plan = plan
        self.selector = make_selector(plan.architecture, plan.k)
        self.n_steps = None if endless else plan.n_steps
        self.t = 0
        device = parameters.encoder.device
        m, d = parameters.encoder.shape
        self._rows = Adam([parameters.encoder, parameters.decoder])
        self._b_enc = Adam([parameters.b_enc])
        self._b_dec = Adam([parameters.b_dec])
        # on an accelerator every slice costs a launch and its bounds a wait
        size = max(64, _CHUNK_BYTES // (4 * d)) if device.type == "cpu" else m
        self._bounds = [*range(0, m, size), m]
        self._silent = torch.zeros(m, dtype=torch.long, device=device)
        self._buffer = torch.empty(0, m, device=device)

    def _encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        p = self.parameters
        if self._buffer.shape[0] != x.shape[0]:
            self._buffer = torch.empty(x.shape[0], p.encoder.shape[0], device=x.device)
        centred = x - p.b_dec
        return centred, torch.addmm(p.b_enc, centred, p.encoder.t(), out=self._buffer)

    @torch.no_grad()
    def step(self, x: torch.Tensor) -> Step:
        """Train on one batch of standardised rows."""
        p = self.parameters
        centred, pre = self._encode(x)
        active = self.selector.select(pre)
        dead = (self._silent >= self.plan.dead_window).nonzero().view(-1)
        grads = batch_gradients(
            p, centred, pre, active, sparse_ops(x.device), dead=dead, k_aux=K_AUX, aux_coefficient=AUX_COEFFICIENT
        )
        self._silent += x.shape[0]
        self._silent.masked_fill_(grads.fired, 0)

        self.t += 1
        lr = learning_rate(self.plan.lr, self.t, self.n_steps)
        for optimiser, grad in ((self._b_enc, grads.b_enc), (self._b_dec, grads.b_dec)):
            optimiser.next_step()
            optimiser.update([grad], lr)
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
        for start in range(0, x.shape[0], self.plan.batch_size):
            part = x[start : start + self.plan.batch_size]
            centred, pre = self._encode(part)
            active = self.selector.infer(pre)
            error = sparse_ops(x.device).bag(active.cols, self.parameters.decoder, active.ptr, active.values.relu())
            total += float(error.sub_(centred).square().sum())
        return total
