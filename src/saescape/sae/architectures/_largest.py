"""Exact selection of the largest entries.

On a CPU, partitioning values and comparing with the lowest one kept is several times faster than a selection that
carries positions along, and gives the positions in increasing order.
"""

from __future__ import annotations

import numpy as np
import torch

# wide rows are first reduced by a maximum over that many columns, which vectorises where a selection does not
_GROUPS = 8
_MIN_WIDTH = 256


def topk_rows(pre: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest values of each row, and their columns in increasing order; of equal ones any."""
    n, m = pre.shape
    width = m // _GROUPS
    # the k largest entries lie in the k groups of columns with the largest maxima
    if m < _MIN_WIDTH or m % _GROUPS or width < 2 * k or _GROUPS * k >= m // 2:
        return _select(pre, k)
    groups = _select(pre.view(n, _GROUPS, width).amax(1), k)[1]
    offsets = torch.arange(0, m, width, device=pre.device).view(1, _GROUPS, 1)
    candidates = (groups.unsqueeze(1) + offsets).reshape(n, _GROUPS * k)
    values, where = _select(pre.gather(1, candidates), k)
    return values, candidates.gather(1, where)


def _select(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    n, w = values.shape
    if values.device.type == "cpu" and k < w:
        array = values.numpy()
        lowest = np.partition(array, w - k, axis=1)[:, w - k : w - k + 1]
        flat = np.flatnonzero(array >= lowest)
        # equal values at the cut, or NaN, leave another number
        if flat.size == n * k:
            positions = torch.from_numpy(flat)
            first = torch.arange(0, n * w, w).unsqueeze(1)
            return values.reshape(-1)[positions].view(n, k), positions.view(n, k) - first
    cols = values.topk(k, dim=-1, sorted=False).indices.sort(1).values
    return values.gather(1, cols), cols


def largest(values: torch.Tensor, n_keep: int, guess: float | None = None) -> tuple[torch.Tensor, float]:
    """Increasing positions of the `n_keep` largest of a vector, and the lowest of these.

    Parameters
    ----------
    values
        Vector of more than `n_keep` numbers or as many.
    guess
        Positive number near the lowest value kept: one comparison leaves few entries to select from.
    """
    for share in (0.8, 0.5) if guess is not None and guess > 0 else ():
        candidates = above_positions(values, share * float(guess or 0.0))
        if candidates.numel() >= n_keep:
            positions, lowest = _largest_of_all(values[candidates], n_keep)
            return candidates[positions], lowest
    return _largest_of_all(values, n_keep)


def _largest_of_all(values: torch.Tensor, n_keep: int) -> tuple[torch.Tensor, float]:
    if values.device.type == "cpu":
        array = values.numpy()
        cut = array.size - n_keep
        lowest = np.partition(array, cut)[cut]
        keep = np.flatnonzero(array >= lowest)
        if keep.size >= n_keep:
            # of those that equal the lowest, the last ones go
            surplus = np.flatnonzero(array[keep] == lowest)[len(keep) :: -1][: keep.size - n_keep]
            return torch.from_numpy(np.delete(keep, surplus)), float(lowest)
    top, positions = values.topk(n_keep, sorted=False)
    return positions.sort().values, float(top.min())


def above_positions(values: torch.Tensor, bound: torch.Tensor | float) -> torch.Tensor:
    """Increasing positions, in the flattened tensor, of the entries greater than `bound`."""
    if values.device.type == "cpu":
        limit = bound.numpy() if isinstance(bound, torch.Tensor) else np.float32(bound)
        return torch.from_numpy(np.flatnonzero(values.numpy() > limit))
    return (values > bound).view(-1).nonzero().view(-1)
