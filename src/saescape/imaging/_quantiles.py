"""Exact quantiles of the pixel values of each object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray

    from ._sorted import SortedPixels

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def object_quantiles(values: np.ndarray, pixels: SortedPixels) -> FloatArray:
    """(n, C, len(QUANTILES)) linearly interpolated quantiles of `values` (C, n_pixels) in their own type."""
    from .kernels._quantiles import ranked_keys

    last = np.diff(pixels.starts)[:, None] - 1
    position = np.asarray(QUANTILES) * last
    below = np.floor(position).astype(np.int64)
    ranks = np.concatenate([below, np.minimum(below + 1, last)], axis=1)
    keys = _to_keys(values)
    found = np.empty((len(ranks), len(keys), ranks.shape[1]), dtype=keys.dtype)
    ranked_keys(keys, pixels.starts, ranks, found)
    low, high = np.split(_from_keys(found, values.dtype), 2, axis=2)
    return low + (high - low) * (position - below)[:, None]


def _to_keys(values: np.ndarray) -> np.ndarray:
    """Unsigned integers in the same order."""
    if values.dtype.kind in "iub":
        if values.dtype.kind == "i":
            # the sign turned over
            unsigned = np.dtype(f"u{values.dtype.itemsize}").type
            values = values.view(unsigned) ^ unsigned(1 << (8 * values.dtype.itemsize - 1))
        return values.astype(np.uint32 if values.dtype.itemsize <= 4 else np.uint64)
    if values.dtype.itemsize <= 4:
        return _turn_over(_as_float(values).view(np.uint32), np.uint32(1 << 31))
    return _turn_over(_as_float(values).view(np.uint64), np.uint64(1 << 63))


def _turn_over(bits: np.ndarray, sign: Any) -> np.ndarray:
    """All bits of negative numbers, the sign of the others."""
    return np.where(bits & sign, ~bits, bits | sign)


def _from_keys(keys: np.ndarray, dtype: np.dtype) -> FloatArray:
    """Values of keys, in float64."""
    if dtype.kind == "i":
        return (keys.astype(np.int64) + np.int64(np.iinfo(dtype).min)).astype(np.float64)
    if dtype.kind in "ub":
        return keys.astype(np.float64)
    sign = keys.dtype.type(1 << (8 * keys.itemsize - 1))
    bits = np.where(keys & sign, keys & ~sign, ~keys)
    return bits.view(np.float32 if keys.itemsize == 4 else np.float64).astype(np.float64)


def _as_float(values: np.ndarray) -> np.ndarray:
    # 0 added, so that -0 and 0 have one key
    return np.ascontiguousarray(values, dtype=np.float32 if values.dtype.itemsize <= 4 else np.float64) + 0
