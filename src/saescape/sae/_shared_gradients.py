"""Gradients of a batch whose rows are spread over processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ._communicator import Communicator
    from ._gradients import Gradients


@dataclass
class SharedGradients:
    """What :class:`Gradients` offers, of the whole batch."""

    loss: torch.Tensor
    n_active: torch.Tensor
    fired: torch.Tensor
    vectors: dict[str, torch.Tensor]
    _encoder: torch.Tensor
    _decoder: torch.Tensor

    def cuts(self, starts: list[int]) -> list[int]:
        """Nothing is left to be cut but the rows themselves."""
        return starts

    def rows(self, start: int, stop: int, low: int, high: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of encoder and decoder rows ``start:stop``."""
        del low, high
        return self._encoder[start:stop], self._decoder[start:stop]


def share_gradients(own: Gradients, share: float, communicator: Communicator) -> SharedGradients:
    """Gradients of the mean over the rows of all processes, by a single sum.

    Parameters
    ----------
    own
        Of the mean over the rows of this process.
    share
        Of the rows of the batch, those that this process has.
    """
    m = own.fired.numel()
    encoder, decoder = own.rows(0, m, *own.cuts([0, m]))
    means = [encoder, decoder, *own.vectors.values(), own.loss]
    # counts do not depend on the number of rows
    counts = [own.fired, own.n_active]
    flat = torch.cat([*(mean.reshape(-1) * share for mean in means), *(count.reshape(-1).float() for count in counts)])
    flat = communicator.sum(flat)
    parts = flat.split([tensor.numel() for tensor in (*means, *counts)])
    encoder, decoder, *vectors, loss = (part.view_as(mean) for part, mean in zip(parts, means, strict=False))
    fired, n_active = parts[-2:]
    return SharedGradients(
        loss=loss,
        n_active=n_active.view(()),
        fired=fired > 0,
        vectors=dict(zip(own.vectors, vectors, strict=True)),
        _encoder=encoder,
        _decoder=decoder,
    )
