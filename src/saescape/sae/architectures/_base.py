from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

if TYPE_CHECKING:
    from saescape.sae._communicator import Communicator
    from saescape.sae._parameters import Parameters
    from saescape.sae._sparse import SparseOps

    from ._active import Active


@dataclass
class Batch:
    """A training batch after the encoder product: what an architecture may look at to find its gradients."""

    parameters: Parameters
    centred: torch.Tensor
    active: Active
    codes: torch.Tensor
    ops: SparseOps

    def per_feature(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of the values of the entries of each feature."""
        out = torch.zeros_like(self.parameters.b_enc)
        return out.index_add_(0, self.active.cols, values)


@dataclass
class Backward:
    """Gradients with respect to inner products of rows and encoder directions (per entry), and per feature.

    That of the encoder bias is None when nothing but the pre-activations depends on it.
    """

    d_pre: torch.Tensor
    d_b_enc: torch.Tensor | None = None
    extras: dict[str, torch.Tensor] = field(default_factory=dict)


class Architecture(ABC):
    """What an architecture has to offer. Derive from this and add the class to `ARCHITECTURES` for a new one.

    Parameters
    ----------
    k
        Wanted number of active features per row.
    n_features
        Size of the dictionary.
    """

    #: codes of new data are cut at one threshold that is calibrated after training
    calibrated: ClassVar[bool] = False
    #: sparsity comes from a penalty, whose weight is steered so that `k` features are active
    penalised: ClassVar[bool] = False
    #: learned numbers per feature besides the encoder bias
    extras: ClassVar[tuple[str, ...]] = ()

    def __init__(self, k: int, n_features: int) -> None:
        self.k = k
        self.n_features = n_features

    @property
    def prefixes(self) -> tuple[int, ...]:
        """Numbers of leading features that reconstruct the row on their own, increasing up to all of them."""
        return (self.n_features,)

    def share_batches(self, communicator: Communicator, batch_size: int) -> None:  # noqa: B027
        """Take what `select` is given as this process's part of batches of `batch_size` rows."""

    def start(self, parameters: Parameters, pre: torch.Tensor) -> None:  # noqa: B027
        """Set biases and extras before training from the pre-activations of a sample (in place)."""

    def start_penalty(self, parameters: Parameters) -> float:
        """Weight of the penalty at which the parameters of `start` are about stationary; 0 without a penalty."""
        del parameters
        return 0.0

    @abstractmethod
    def select(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        """Entries of a training batch that take part in the step, with their pre-activations as values.

        Parameters
        ----------
        pre
            Pre-activations `(n, n_features)`.
        learned
            What is learned per feature (`b_enc` and the extras; the weights of a finished model have `threshold`).
        """

    @abstractmethod
    def infer(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        """Codes of new rows (zeros may be among them); the result for a row depends on that row alone."""

    def codes(self, active: Active, parameters: Parameters) -> torch.Tensor:
        """Codes of the entries of `select`."""
        del parameters
        return active.values.relu()

    def backward(self, batch: Batch, d_codes: torch.Tensor, penalty: torch.Tensor | None) -> Backward:
        """Carry the gradient of the reconstruction error on to the pre-activations, and add that of the penalty."""
        del penalty
        return Backward(d_codes.mul_(batch.active.values > 0))

    def state(self) -> dict[str, float]:
        """Numbers that training has to be given back to continue as if never interrupted."""
        return {}

    def load_state(self, state: dict[str, float]) -> None:
        """Take over what `state` returned."""
        del state


def start_threshold(pre: torch.Tensor, k: int) -> float:
    """Positive number that `k` pre-activations per row exceed on average."""
    n_keep = min(k * len(pre), pre.numel())
    return max(float(pre.reshape(-1).topk(n_keep, sorted=False).values.min()), 1e-6)
