"""Products that touch only active entries. `sparse_ops` alone decides which kernel runs on which device."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

# elements of the gathered rows held at once
_GATHER_ELEMENTS = 2**24


def transpose_pattern(cols: torch.Tensor, n_cols: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Column pointers of the transposed pattern, and the permutation of its entries."""
    ordered, permutation = cols.sort(stable=True)
    return torch.searchsorted(ordered, torch.arange(n_cols + 1, device=cols.device)), permutation


def bag_embedding(idx: torch.Tensor, table: torch.Tensor, ptr: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """``out[i] = sum_j weights[j] * table[idx[j]]`` over ``j`` in ``ptr[i]:ptr[i + 1]``."""
    return F.embedding_bag(idx, table, ptr, mode="sum", per_sample_weights=weights, include_last_offset=True)


def bag_gather(idx: torch.Tensor, table: torch.Tensor, ptr: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The same by gathering and adding rows: for devices without a kernel for `bag_embedding`."""
    n = ptr.numel() - 1
    segments = torch.arange(n, device=ptr.device).repeat_interleave(ptr[1:] - ptr[:-1])
    out = torch.zeros(n, table.shape[1], dtype=table.dtype, device=table.device)
    size = max(1, _GATHER_ELEMENTS // table.shape[1])
    for start in range(0, idx.numel(), size):
        part = slice(start, start + size)
        out.index_add_(0, segments[part], table[idx[part]] * weights[part].unsqueeze(1))
    return out


def dots_sampled(
    rows: torch.Tensor, cols: torch.Tensor, ptr: torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    """``<left[rows[j]], right[cols[j]]>`` for each entry ``j`` of a compressed row pattern."""
    del rows
    zeros = torch.zeros(cols.numel(), dtype=left.dtype)
    pattern = torch.sparse_csr_tensor(ptr, cols, zeros, (left.shape[0], right.shape[0]), check_invariants=False)
    return torch.sparse.sampled_addmm(pattern, left, right.t(), beta=0.0).values()


def dots_gather(
    rows: torch.Tensor, cols: torch.Tensor, ptr: torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    """The same by gathering both sides: runs on any device."""
    del ptr
    size = max(1, _GATHER_ELEMENTS // left.shape[1])
    parts = [
        torch.linalg.vecdot(left[rows[start : start + size]], right[cols[start : start + size]], dim=1)
        for start in range(0, cols.numel(), size)
    ]
    return torch.cat(parts) if parts else left.new_zeros(0)


@dataclass(frozen=True)
class SparseOps:
    """The two products a training step needs besides the encoder's."""

    bag: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    dots: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@lru_cache
def _cpu_has_sampled_product() -> bool:
    """Whether this build of torch has the sampled product on CPU (some builds without MKL have not)."""
    one = torch.ones(1, 1)
    index = torch.zeros(1, dtype=torch.long)
    with warnings.catch_warnings():
        # torch says once per process that its CSR tensors are in beta; nothing of them leaves this module
        warnings.simplefilter("ignore")
        try:
            dots_sampled(index, index, torch.tensor([0, 1]), one, one)
        except RuntimeError:
            return False
    return True


def sparse_ops(device: torch.device) -> SparseOps:
    """The fastest kernels that exist on `device`."""
    if device.type == "cpu":
        return SparseOps(bag_embedding, dots_sampled if _cpu_has_sampled_product() else dots_gather)
    if device.type == "cuda":
        # deterministic, which adding by index is not there
        return SparseOps(bag_embedding, dots_gather)
    return SparseOps(bag_gather, dots_gather)
