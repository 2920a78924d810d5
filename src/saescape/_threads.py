from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


# multiplications of a matrix product below which a second thread saves nothing
SMALL_PRODUCT = 2**24


@contextmanager
def one_thread(*, when: bool = True) -> Iterator[None]:
    """Let torch compute on one thread, and restore its setting afterwards.

    For many operations on small tensors: more threads save nothing there, and where other processes want the same
    cores, they wait for each other at the end of every operation (measured on two busy cores: 40 times slower).
    """
    if not when:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
