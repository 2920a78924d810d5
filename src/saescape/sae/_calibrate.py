from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ._encode import Encoder, row_batches

if TYPE_CHECKING:
    from saescape._rows import RowSource
    from saescape._typing import BoolArray, FloatArray

    from ._weights import SaeWeights

# positive float32 numbers are ordered like their bits; dropping the last 12 leaves steps of 2^-11 of the value
_DROPPED_BITS = 12
_N_BINS = 2 ** (31 - _DROPPED_BITS)


def _histogram(
    rows: RowSource, encoder: Encoder, units: torch.Tensor, train: BoolArray, low: float
) -> tuple[np.ndarray, int]:
    """Counts of pre-activations above `low`, in the units of each feature, binned by their leading bits."""
    counts = np.zeros(_N_BINS, dtype=np.int64)
    n_rows = 0
    p = rows.n_positions or 1
    for start, x in row_batches(rows, encoder.batch_size):
        keep = np.repeat(train[start : start + len(x) // p], p)
        n_rows += int(keep.sum())
        _, pre = encoder.pre_activations(x[torch.from_numpy(keep)])
        pre.div_(units)
        values = pre[pre > low].cpu().contiguous()
        counts += np.bincount(values.numpy().view(np.int32) >> _DROPPED_BITS, minlength=_N_BINS)
    return counts, n_rows


@torch.no_grad()
def calibrate_threshold(
    rows: RowSource,
    weights: SaeWeights,
    train: BoolArray,
    device: torch.device,
    guess: float | None = None,
    units: FloatArray | None = None,
) -> float:
    """Threshold above which the training rows have `k` active features on average, by one pass over all of them.

    Parameters
    ----------
    train
        Mask of the observations that are trained on.
    guess
        About the threshold; entries far below it are not looked at unless they turn out to be needed.
    units
        Positive number per feature, in which pre-activations are measured and the threshold is given; None for 1.
    """
    encoder = Encoder(weights, device, rows.n_positions or 1)
    size = torch.ones(weights.n_features) if units is None else torch.from_numpy(units)
    size = size.to(device)
    for low in (0.5 * guess, 0.0) if guess and guess > 0 else (0.0,):
        counts, n_rows = _histogram(rows, encoder, size, train, low)
        wanted = weights.k * n_rows
        if counts.sum() >= wanted:
            above = np.cumsum(counts[::-1])[::-1]
            index = int(np.flatnonzero(above >= wanted)[-1])
            edges = (np.array([index, index + 1], dtype=np.int32) << _DROPPED_BITS).view(np.float32)
            # linear within the bin
            share = (above[index] - wanted) / counts[index]
            return float(edges[0] + share * (edges[1] - edges[0]))
    # fewer than k positive entries per row: all of them are active
    return 0.0
