from __future__ import annotations

from typing import NamedTuple

import torch

from ._largest import above_positions


class Active(NamedTuple):
    """Entries of a batch that are kept, in compressed row form, columns increasing within a row."""

    values: torch.Tensor
    cols: torch.Tensor
    rows: torch.Tensor
    ptr: torch.Tensor


def from_flat(pre: torch.Tensor, flat: torch.Tensor) -> Active:
    """Compressed rows from increasing positions in the flattened batch."""
    n, m = pre.shape
    rows = flat // m
    ptr = torch.zeros(n + 1, dtype=torch.long, device=pre.device)
    torch.cumsum(torch.bincount(rows, minlength=n), 0, out=ptr[1:])
    return Active(pre.reshape(-1)[flat], flat - rows * m, rows, ptr)


def above(pre: torch.Tensor, bound: torch.Tensor | float) -> Active:
    """Entries greater than `bound` (one number, or one per column)."""
    return from_flat(pre, above_positions(pre, bound))
