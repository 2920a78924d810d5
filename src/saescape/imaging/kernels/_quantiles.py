"""Sorted pixel values of each object, where quantiles need them."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._objects import most_pixels

# below this number of pixels, insertion beats counting digits
_FEW = 32


@njit(cache=True, nogil=True)
def _insertion_sort(keys: np.ndarray) -> None:
    for i in range(1, len(keys)):
        key = keys[i]
        j = i
        while j > 0 and keys[j - 1] > key:
            keys[j] = keys[j - 1]
            j -= 1
        keys[j] = key


@njit(cache=True, nogil=True)
def _radix_sort(keys: np.ndarray, spare: np.ndarray, span: np.unsignedinteger, counts: np.ndarray) -> np.ndarray:
    """Sort by the digits (base 256) that differ at all; returns whichever of the two arrays holds the result."""
    shift = 0
    while shift < 64 and (span >> np.uint64(shift)) > 0:
        counts[:] = 0
        for key in keys:
            counts[(np.uint64(key) >> np.uint64(shift)) & np.uint64(255)] += 1
        before = 0
        for digit in range(256):
            here = counts[digit]
            counts[digit] = before
            before += here
        for key in keys:
            bucket = (np.uint64(key) >> np.uint64(shift)) & np.uint64(255)
            spare[counts[bucket]] = key
            counts[bucket] += 1
        keys, spare = spare, keys
        shift += 8
    return keys


@njit(cache=True, nogil=True)
def ranked_keys(keys: np.ndarray, starts: np.ndarray, ranks: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` (n, C, k) with the keys at `ranks` (n, k) among an object's sorted unsigned `keys` (C, pixels)."""
    longest = most_pixels(starts)
    first, second = np.empty(longest, dtype=keys.dtype), np.empty(longest, dtype=keys.dtype)
    counts = np.empty(256, dtype=np.int64)
    for i in range(len(starts) - 1):
        n = starts[i + 1] - starts[i]
        for c in range(len(keys)):
            own = keys[c, starts[i] : starts[i + 1]]
            low, high = own[0], own[0]
            for p in range(n):
                low = min(low, own[p])
                high = max(high, own[p])
            work = first[:n]
            for p in range(n):
                work[p] = own[p] - low
            if n <= _FEW:
                _insertion_sort(work)
            else:
                work = _radix_sort(work, second[:n], np.uint64(high - low), counts)
            for k in range(ranks.shape[1]):
                out[i, c, k] = work[ranks[i, k]] + low
