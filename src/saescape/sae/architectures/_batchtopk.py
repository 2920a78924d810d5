from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from ._active import above, from_flat
from ._base import Architecture
from ._largest import largest
from ._shared_selection import largest_of_all

if TYPE_CHECKING:
    import torch

    from saescape.sae._communicator import Communicator

    from ._active import Active


class BatchTopK(Architecture):
    """Keep the k n largest pre-activations of a batch of n rows (Bussmann et al., arXiv 2412.06410).

    New data are cut at a threshold, so that a code does not depend on the other rows of its batch.
    """

    calibrated: ClassVar[bool] = True

    def __init__(self, k: int, n_features: int) -> None:
        super().__init__(k, n_features)
        # a running mean that speeds up the next selection and serves evaluation during training
        self.threshold: float | None = None
        self._shared: tuple[Communicator, int] | None = None

    def share_batches(self, communicator: Communicator, batch_size: int) -> None:
        self._shared = communicator, batch_size

    def select(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        del learned
        if self._shared is None:
            flat, lowest = largest(pre.view(-1), self.k * pre.shape[0], self.threshold)
        else:
            communicator, batch_size = self._shared
            own = partial(largest, pre.view(-1), guess=self.threshold)
            flat, lowest = largest_of_all(pre.view(-1), lambda n: own(n)[0], self.k * batch_size, communicator)
            flat = flat.sort().values
        self.threshold = lowest if self.threshold is None else 0.99 * self.threshold + 0.01 * lowest
        return from_flat(pre, flat)

    def infer(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        # during training the running threshold stands in for the calibrated one
        if "threshold" in learned:
            return above(pre, learned["threshold"].clamp_min(0.0))
        return above(pre, max(self.threshold or 0.0, 0.0))

    def state(self) -> dict[str, float]:
        return {} if self.threshold is None else {"threshold": self.threshold}

    def load_state(self, state: dict[str, float]) -> None:
        self.threshold = state.get("threshold")
