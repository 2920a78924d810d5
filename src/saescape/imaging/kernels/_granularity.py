"""Energy of each object's pixels per scale, by a wavelet transform that sees the object alone."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._objects import clear, most_pixels

_FAST = {"reassoc", "contract", "nsz", "nnan"}
# distance between the five taps of the B3 spline (1, 4, 6, 4, 1) / 16 at each scale
SCALES = (1, 2, 4, 8)
_FRAME = 2 * SCALES[-1]


# elements whose squares are added up in float32
_STRETCH = 4096


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _smooth(source: np.ndarray, target: np.ndarray, first: int, n: int, step: int) -> None:
    """Five taps at distance `step` in flat arrays, for `n` elements from `first` on."""
    # unsigned, as an index that may be negative would have to be tested
    one, two = np.uint64(step), np.uint64(2 * step)
    for k in range(np.uint64(first), np.uint64(first + n)):
        target[k] = (
            np.float32(0.375) * source[k]
            + np.float32(0.25) * (source[k - one] + source[k + one])
            + np.float32(0.0625) * (source[k - two] + source[k + two])
        )


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _energies(finer: np.ndarray, coarser: np.ndarray, first: int, n: int) -> tuple[float, float]:
    """Sum of squares of the difference, and of what is left."""
    lost, rest = 0.0, 0.0
    for begin in range(first, first + n, _STRETCH):
        some_lost, some_rest = np.float32(0), np.float32(0)
        for k in range(np.uint64(begin), np.uint64(min(begin + _STRETCH, first + n))):
            difference = finer[k] - coarser[k]
            some_lost += difference * difference
            some_rest += coarser[k] * coarser[k]
        lost += float(some_lost)
        rest += float(some_rest)
    return lost, rest


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _scale(array: np.ndarray, factor: np.ndarray, first: int, n: int) -> None:
    for k in range(np.uint64(first), np.uint64(first + n)):
        array[k] *= factor[k]


@njit(cache=True, nogil=True, error_model="numpy")
def measure_granularity(
    values: np.ndarray,
    starts: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    sizes: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill `out` (n, C, len(SCALES)): energy of the detail at each scale over that of all scales and the rest.

    Undecimated B3-spline wavelets (Starck et al. 2007). Every smoothing is normalised by that of the object's
    mask (Knutsson and Westin 1993), so that neither the background nor a neighbour counts. An object whose
    pixels are all alike has 0 throughout.
    """
    # an object lies in a flat array row by row, with enough zeros between the rows that taps never reach another
    largest = 0
    for i in range(len(sizes)):
        largest = max(largest, (sizes[i, 0] + 2 * _FRAME + 1) * (sizes[i, 1] + _FRAME))
    # two levels of smoothing, one between rows and columns, and a weight per scale
    grids = np.empty((3 + len(SCALES), largest), dtype=np.float32)
    finer, coarser, work, weights = grids[0], grids[1], grids[2], grids[3:]
    place = np.empty(most_pixels(starts), dtype=np.int64)
    energy = np.empty(len(SCALES))
    for i in range(len(starts) - 1):
        begin, n = starts[i], starts[i + 1] - starts[i]
        stride = sizes[i, 1] + _FRAME
        first, n_grid = _FRAME * stride + _FRAME, sizes[i, 0] * stride
        used = (sizes[i, 0] + 2 * _FRAME + 1) * stride
        clear(grids, len(grids), used, 0)
        for p in range(n):
            place[p] = first + rows[begin + p] * stride + columns[begin + p]
            finer[place[p]] = 1
        for s in range(len(SCALES)):
            _smooth(finer, work, first, n_grid, SCALES[s])
            _smooth(work, coarser, first, n_grid, SCALES[s] * stride)
            for p in range(n):
                weights[s, place[p]] = 1 / coarser[place[p]]
        for c in range(len(values)):
            for s in range(len(SCALES)):
                out[i, c, s] = 0
            pixels = values[c, begin : begin + n]
            mean, spread = 0.0, 0.0
            for p in range(n):
                mean += pixels[p]
            mean /= n
            for p in range(n):
                spread = max(spread, abs(pixels[p] - mean))
            # values that differ by rounding only count as constant
            if spread <= 1e-12 * abs(mean):
                continue
            source, target = finer, coarser
            for k in range(first, first + n_grid):
                source[k] = 0
            for p in range(n):
                source[place[p]] = (pixels[p] - mean) / spread
            rest, total = 0.0, 0.0
            for s in range(len(SCALES)):
                _smooth(source, work, first, n_grid, SCALES[s])
                _smooth(work, target, first, n_grid, SCALES[s] * stride)
                _scale(target, weights[s], first, n_grid)
                energy[s], rest = _energies(source, target, first, n_grid)
                total += energy[s]
                source, target = target, source
            total += rest
            for s in range(len(SCALES)):
                out[i, c, s] = energy[s] / total if total > 0 else 0.0
