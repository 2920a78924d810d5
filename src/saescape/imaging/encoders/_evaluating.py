"""Evaluation mode on a device, for as long as anybody needs it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from ._source import module_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

_LOCK = Lock()


@dataclass
class _Use:
    """How a module was found, and how many contexts it is in."""

    device: torch.device | None
    modes: list[tuple[torch.nn.Module, bool]]
    n_users: int = field(default=0)


_IN_USE: dict[int, _Use] = {}


@contextmanager
def evaluating(encoder: Any, device: torch.device) -> Iterator[None]:
    """Put the module of an encoder into evaluation mode and on `device`; the last one to leave undoes both.

    Contexts of one module nest, also over threads, so that one around many tasks makes those inside cost nothing.
    Encoders without a module are left alone.
    """
    module = module_of(encoder)
    if module is None:
        yield
        return
    with _LOCK:
        use = _IN_USE.get(id(module))
        if use is None:
            first = next(module.parameters(), None)
            use = _Use(None if first is None else first.device, [(part, part.training) for part in module.modules()])
            _IN_USE[id(module)] = use
            module.eval()
            module.to(device)
        use.n_users += 1
    try:
        yield
    finally:
        with _LOCK:
            use.n_users -= 1
            if not use.n_users:
                del _IN_USE[id(module)]
                if use.device is not None:
                    module.to(use.device)
                for part, training in use.modes:
                    part.training = training
