"""Moments of the pixel values of each object."""

from __future__ import annotations

import numpy as np
from numba import njit

# values are finite, so that sums may be reordered and extremes compared without regard to NaN
_FAST = {"reassoc", "contract", "nsz", "nnan"}


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def measure_intensity(
    values: np.ndarray,
    starts: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    location: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill `out` (n, C, 8): mean, SD, minimum, maximum, sum, skewness, excess kurtosis, displacement.

    Two passes over values from which the object's first one is taken away, in float64.
    """
    for i in range(len(starts) - 1):
        begin, end = starts[i], starts[i + 1]
        n = end - begin
        y, x = rows[begin:end], columns[begin:end]
        for c in range(len(values)):
            pixels = values[c, begin:end]
            first = pixels[0]
            total, low, high = 0.0, first, first
            for p in range(n):
                value = pixels[p]
                total += value - first
                low = min(low, value)
                high = max(high, value)
            shift = total / n
            mean = first + shift
            second, third, fourth, weight_y, weight_x = 0.0, 0.0, 0.0, 0.0, 0.0
            for p in range(n):
                value = pixels[p]
                centred = value - mean
                squared = centred * centred
                second += squared
                third += squared * centred
                fourth += squared * squared
                # weights from the object's minimum on, so that an offset of the camera does not matter
                weight_y += (value - low) * y[p]
                weight_x += (value - low) * x[p]
            variance = second / n
            row = out[i, c]
            row[0], row[1], row[2], row[3], row[4] = mean, np.sqrt(variance), low, high, total + n * first
            row[5], row[6], row[7] = 0.0, 0.0, 0.0
            # values that differ by rounding only count as constant
            limit = 1e-12 * max(abs(mean), 1e-300)
            if variance > limit * limit:
                row[5] = third / n / variance**1.5
                row[6] = fourth / n / variance**2 - 3
            mass = total + n * (first - low)
            if mass > 0:
                shift_y, shift_x = weight_y / mass - location[i, 0], weight_x / mass - location[i, 1]
                row[7] = np.sqrt(shift_y * shift_y + shift_x * shift_x) / location[i, 2]
