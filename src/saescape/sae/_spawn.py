"""New processes on this machine, each of which calls one function.

What parent and children send each other through their pipes is pickled, as everything between processes of Python is;
nothing is read from or written to a file. It is pickled here, and not by the pipe, because torch would then send
tensors as handles of shared memory, which end with the process that made them.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import socket
import sys
import threading
import traceback
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import wait
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from ._launch import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from ._communicator import Communicator

# seconds that a process may take to end by itself
_PATIENCE = 10.0
# what an error of another process is raised as again; others are RuntimeErrors
_KINDS: tuple[type[Exception], ...] = (ValueError, TypeError, OSError, MemoryError)


def spawn(function: Callable[[Communicator], Any], n: int, device_type: str) -> Any:
    """Let `n` new processes call `function`, and return what it returns in the first of them.

    A script needs no ``if __name__ == "__main__"`` for that, because the new processes do not import it.

    Parameters
    ----------
    function
        Can be pickled, as can be what it returns.
    device_type
        `"cpu"` or `"cuda"`; then process `i` has GPU `i`.

    Raises
    ------
    ValueError
        When the function, or data that belong to it, cannot be sent to other processes.
    RuntimeError
        When a process is killed. Errors within `function` are raised again.
    """
    context = multiprocessing.get_context("spawn")
    port = _free_port()
    processes: list[SpawnProcess] = []
    receivers: list[Connection] = []
    try:
        with _empty_main():
            payload = _pickled(function, n)
            for rank in range(n):
                receiver, sender = context.Pipe(duplex=False)
                arguments = (payload, rank, n, port, device_type, sender)
                process = context.Process(target=_child, args=arguments, daemon=True)
                process.start()
                sender.close()
                processes.append(process)
                receivers.append(receiver)
        result = _receive(receivers, processes)
        for process in processes:
            process.join(_PATIENCE)
        return result
    finally:
        for process in processes:
            process.kill()
            process.join()


def _receive(receivers: list[Connection], processes: list[SpawnProcess]) -> Any:
    result = None
    pending = dict(zip(receivers, range(len(receivers)), strict=True))
    while pending:
        for receiver in wait(list(pending)):
            rank = pending.pop(receiver)  # type: ignore[call-overload]
            try:
                kind, content, details = pickle.loads(receiver.recv_bytes())  # type: ignore[union-attr]
            except EOFError:
                processes[rank].join()
                code = processes[rank].exitcode
                msg = f"Process {rank} of {len(processes)} was ended from outside (exit code {code})."
                raise RuntimeError(msg) from None
            if kind is not None:
                error = kind(content)
                error.add_note(f"In process {rank} of {len(processes)}:\n{details}")
                raise error
            if rank == 0:
                result = content
    return result


def _child(payload: bytes, rank: int, n: int, port: int, device_type: str, sender: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n, "GROUP_RANK": 0}
    os.environ |= {name: str(value) for name, value in world.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        _quiet_lightning()
        communicator = connect(n, 1, device_type, "torchrun")
        result = pickle.loads(payload)(communicator)
        sender.send_bytes(pickle.dumps((None, result if rank == 0 else None, "")))
        torch.distributed.destroy_process_group()
    except Exception as error:
        kind = next((kind for kind in _KINDS if isinstance(error, kind)), RuntimeError)
        sender.send_bytes(pickle.dumps((kind, str(error), traceback.format_exc())))
        raise SystemExit(1) from error


def _quiet_lightning() -> None:
    import_module("lightning")
    # which set their own levels when they are imported
    for part in ("fabric", "pytorch"):
        logging.getLogger(f"lightning.{part}").setLevel(logging.WARNING)


def _end_with_parent() -> None:
    """Do not go on, nor write checkpoints, for a process that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _pickled(function: Callable[[Communicator], Any], n: int) -> bytes:
    try:
        return pickle.dumps(function)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        msg = (
            f"The data cannot be sent to the processes that `devices={n}` starts ({error}). Start the script with "
            f"torchrun (`torchrun --nproc-per-node {n} script.py`), where each process opens them itself."
        )
        raise ValueError(msg) from error


@contextmanager
def _empty_main() -> Iterator[None]:
    """Keep new processes from importing the script, which would run it again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
