"""What processes that train together tell each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from lightning.fabric import Fabric

_T = TypeVar("_T")


class Communicator:
    """A process that trains alone: everything it asks others for is its own."""

    rank: int = 0
    world_size: int = 1
    #: where this process computes, when that is not for itself to say
    device: torch.device | None = None

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over all processes, bitwise the same on each. `tensor` may be changed."""
        return tensor

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """Tensors of all processes, which have equal shapes, stacked in the order of ranks."""
        return tensor.unsqueeze(0)

    def share(self, value: _T) -> _T:
        """What the first process has."""
        return value

    def barrier(self) -> None:
        """Wait for all processes."""


ALONE = Communicator()


class FabricCommunicator(Communicator):
    """One of several processes that Lightning Fabric has connected.

    Parameters
    ----------
    fabric
        Launched.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self.rank = int(fabric.global_rank)
        self.world_size = int(fabric.world_size)
        self.device = fabric.device

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        # `fabric.all_reduce` waits at a barrier before each sum, and `fabric.all_gather` prepares for autograd
        torch.distributed.all_reduce(tensor)
        return tensor

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(tensor) for _ in range(self.world_size)]
        torch.distributed.all_gather(parts, tensor)
        return torch.stack(parts)

    def share(self, value: _T) -> _T:
        return self._fabric.broadcast(value)

    def barrier(self) -> None:
        self._fabric.barrier()
