"""Which pre-activations become active: the one part that differs between architectures."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch

# the group maximum pays when rows are this many times wider than `k`
_GROUPS = 8
_GROUP_WIDTH = 32


class Active(NamedTuple):
    """Entries of a batch that are kept, in compressed row form; `values` are pre-activations before the ReLU."""

    values: torch.Tensor
    cols: torch.Tensor
    rows: torch.Tensor
    ptr: torch.Tensor


class Selector(Protocol):
    """What an architecture has to offer; add one here and to `SELECTORS` for a new architecture."""

    #: whether codes of new data are cut at a threshold that is calibrated after training
    calibrated: bool

    def select(self, pre: torch.Tensor) -> Active:
        """Active entries of a training batch."""

    def infer(self, pre: torch.Tensor, threshold: torch.Tensor | None = None) -> Active:
        """Active entries of new rows; the result for a row depends on that row alone."""


def topk_rows(pre: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Exact k largest values of each row, and their columns, unordered.

    The k largest entries lie in the k groups of columns with the largest maxima, so wide rows are
    first reduced by a maximum over groups, which vectorises where a selection does not.
    """
    n, m = pre.shape
    width = m // _GROUPS
    if m < _GROUP_WIDTH * k or m % _GROUPS or width < k:
        values, cols = pre.topk(k, dim=-1, sorted=False)
        return values, cols
    groups = pre.view(n, _GROUPS, width).amax(1).topk(k, dim=-1, sorted=False).indices
    offsets = torch.arange(0, m, width, device=pre.device).view(1, _GROUPS, 1)
    candidates = (groups.unsqueeze(1) + offsets).reshape(n, _GROUPS * k)
    values, where = pre.gather(1, candidates).topk(k, dim=-1, sorted=False)
    return values, candidates.gather(1, where)


def _from_flat(pre: torch.Tensor, flat: torch.Tensor) -> Active:
    """Compressed rows from increasing positions in the flattened batch."""
    n, m = pre.shape
    rows = flat // m
    ptr = torch.zeros(n + 1, dtype=torch.long, device=pre.device)
    torch.cumsum(torch.bincount(rows, minlength=n), 0, out=ptr[1:])
    return Active(pre.view(-1)[flat], flat - rows * m, rows, ptr)


class TopK:
    """Keep the k largest pre-activations of each row (Gao et al., arXiv 2406.04093, section 2.3)."""

    calibrated = False

    def __init__(self, k: int) -> None:
        self.k = k

    def select(self, pre: torch.Tensor) -> Active:
        n = pre.shape[0]
        values, cols = topk_rows(pre, self.k)
        rows = torch.arange(n, device=pre.device).repeat_interleave(self.k)
        ptr = torch.arange(0, n * self.k + 1, self.k, device=pre.device)
        return Active(values.view(-1), cols.view(-1), rows, ptr)

    def infer(self, pre: torch.Tensor, threshold: torch.Tensor | None = None) -> Active:
        del threshold
        return self.select(pre)


class BatchTopK:
    """Keep the k n largest pre-activations of a batch of n rows (Bussmann et al., arXiv 2412.06410).

    New data are cut at a threshold, so that a code does not depend on the other rows of its batch.
    """

    calibrated = True

    def __init__(self, k: int) -> None:
        self.k = k
        self.threshold: float | None = None

    def select(self, pre: torch.Tensor) -> Active:
        n_keep = self.k * pre.shape[0]
        flat, lowest = self._largest(pre, n_keep)
        # the running mean only speeds up the next selection and serves evaluation during training
        self.threshold = lowest if self.threshold is None else 0.99 * self.threshold + 0.01 * lowest
        return _from_flat(pre, flat.sort().values)

    def _largest(self, pre: torch.Tensor, n_keep: int) -> tuple[torch.Tensor, float]:
        flattened = pre.view(-1)
        # one comparison with a bound below the last threshold leaves few entries to select from
        if self.threshold is not None and self.threshold > 0:
            for share in (0.8, 0.5):
                candidates = (flattened > share * self.threshold).nonzero().view(-1)
                if candidates.numel() >= n_keep:
                    values, where = flattened[candidates].topk(n_keep, sorted=False)
                    return candidates[where], float(values.min())
        values, flat = flattened.topk(n_keep, sorted=False)
        return flat, float(values.min())

    def infer(self, pre: torch.Tensor, threshold: torch.Tensor | None = None) -> Active:
        # during training the running threshold stands in for the calibrated one
        bound = max(self.threshold or 0.0, 0.0) if threshold is None else threshold.clamp_min(0.0)
        return _from_flat(pre, (pre > bound).view(-1).nonzero().view(-1))


SELECTORS: dict[str, type[TopK] | type[BatchTopK]] = {"topk": TopK, "batchtopk": BatchTopK}


def make_selector(architecture: str, k: int) -> Selector:
    return SELECTORS[architecture](k)
