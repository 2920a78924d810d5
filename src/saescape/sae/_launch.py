"""Processes that train together: those that torchrun or srun have started, or new ones on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from saescape._validate import import_extra

from ._communicator import ALONE, FabricCommunicator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._communicator import Communicator


def _started_processes(environment: Mapping[str, str]) -> tuple[str, int] | None:
    """What has started this process together with others, and how many they are."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return "torchrun", int(environment["WORLD_SIZE"])
    # a batch script has the other variables of SLURM without being one of several tasks
    n_tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    return ("srun", n_tasks) if n_tasks > 1 else None


@dataclass(frozen=True)
class Processes:
    """How many processes train together, and what has started them (None: nothing yet).

    Parameters
    ----------
    devices
        Processes on each machine, every one with a device of its own.
    num_nodes
        Machines.
    starter
        `"torchrun"` or `"srun"`.
    """

    devices: int = 1
    num_nodes: int = 1
    starter: str | None = None

    @property
    def n(self) -> int:
        """All processes."""
        return self.devices * self.num_nodes

    @property
    def to_spawn(self) -> int:
        """Processes that have to be started on this machine."""
        return self.n if self.n > 1 and self.starter is None else 1

    def check_batch_size(self, batch_size: int) -> None:
        """Raise unless every process gets rows of each batch."""
        if batch_size < self.n:
            msg = f"{self.n} processes cannot share batches of {batch_size} rows; lower `devices` or `num_nodes`."
            raise ValueError(msg)

    def connect(self, device: torch.device) -> Communicator:
        """Meet the other processes, where there are any already."""
        return ALONE if self.starter is None else connect(self.devices, self.num_nodes, device.type, self.starter)


def find_processes(devices: int, num_nodes: int, device: torch.device) -> Processes:
    """Look for the processes that were asked for.

    Raises
    ------
    ImportError
        When Lightning is missing.
    ValueError
        When there are other processes than that, or too few devices.
    """
    n = devices * num_nodes
    if n == 1:
        return Processes()
    # found, not imported: that takes seconds, and processes to be started do it themselves
    if find_spec("lightning") is None:
        import_extra("lightning", "cluster")
    _check_device(devices, device)
    started = _started_processes(os.environ)
    if started is None:
        if num_nodes > 1:
            msg = (
                f"`num_nodes={num_nodes}` needs a process per device on every machine; start the script with torchrun "
                f"(`torchrun --nnodes {num_nodes} --nproc-per-node {devices} ...`) or srun."
            )
            raise ValueError(msg)
        return Processes(devices, num_nodes)
    starter, n_started = started
    if n_started != n:
        msg = (
            f"`devices={devices}` on `num_nodes={num_nodes}` are {n} processes, but {starter} has started {n_started}; "
            "make them agree."
        )
        raise ValueError(msg)
    return Processes(devices, num_nodes, starter)


def _check_device(devices: int, device: torch.device) -> None:
    if device.type not in {"cpu", "cuda"}:
        msg = f"`devices={devices}` is possible on 'cpu' and 'cuda', found `device={str(device)!r}`."
        raise ValueError(msg)
    if device.index is not None:
        msg = f"`device={str(device)!r}` is a single one; with `devices={devices}` give `device={device.type!r}`."
        raise ValueError(msg)
    if device.type == "cuda" and devices > torch.cuda.device_count():
        msg = f"`devices={devices}` is more than the {torch.cuda.device_count()} CUDA devices of this machine."
        raise ValueError(msg)


def connect(devices: int, num_nodes: int, device_type: str, starter: str) -> FabricCommunicator:
    """Meet the other processes; each has to call this."""
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    environment = SLURMEnvironment(auto_requeue=False) if starter == "srun" else TorchElasticEnvironment()
    fabric = Fabric(
        accelerator=device_type, devices=devices, num_nodes=num_nodes, strategy="ddp", plugins=[environment]
    )
    fabric.launch()
    communicator = FabricCommunicator(fabric)
    # what the first process wrote before is there for all from now on
    communicator.barrier()
    return communicator
