"""Random numbers: one `Generator` per call, children by spawning, global states never touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from saescape._typing import Rng


def as_generator(rng: Rng) -> np.random.Generator:
    """Turn the public `rng` argument into a generator (an existing one is used as it is)."""
    return np.random.default_rng(rng)


def child_seed(rng: np.random.Generator) -> int:
    """Draw a 63-bit seed for a library that takes integers."""
    return int(rng.integers(2**63 - 1))


def torch_generator(rng: np.random.Generator, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator seeded from a numpy one."""
    import torch

    return torch.Generator(device=device).manual_seed(child_seed(rng))


def rng_param(rng: Rng) -> int | str | None:
    """What of `rng` can be stored in `uns[...]["params"]`."""
    return "generator" if isinstance(rng, np.random.Generator) else rng
