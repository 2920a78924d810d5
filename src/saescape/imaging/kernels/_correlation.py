"""How the channels of each object go together."""

from __future__ import annotations

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz", "nnan"}
# share of an object's maximum above which a pixel carries signal
MANDERS_THRESHOLD = 0.15


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _describe(pixels: np.ndarray, low: float) -> tuple[float, float, float, float]:
    """Mean, norm of the deviations from it (0 if constant), threshold of the signal and sum of the signal."""
    n = len(pixels)
    shift, highest = 0.0, pixels[0]
    for p in range(n):
        shift += pixels[p] - pixels[0]
        highest = max(highest, pixels[p])
    mean = pixels[0] + shift / n
    threshold = low + MANDERS_THRESHOLD * max(highest - low, 0.0)
    squares, signal = 0.0, 0.0
    for p in range(n):
        squares += (pixels[p] - mean) * (pixels[p] - mean)
        signal += pixels[p] - low if pixels[p] > threshold else 0.0
    # values that differ by rounding only count as constant
    limit = 1e-12 * max(abs(mean), 1e-300)
    return mean, np.sqrt(squares) if squares > n * limit * limit else 0.0, threshold, signal


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def measure_correlation(values: np.ndarray, starts: np.ndarray, low: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` (n, 3 C (C - 1) / 2): for each pair of channels Pearson's r and Manders' coefficients both ways.

    r is 0 where a channel is constant. Signal is what a pixel has above `low` (C,), where that exceeds
    `MANDERS_THRESHOLD` of the object's largest; Manders' coefficient is the share of one channel's signal in pixels
    where the other has signal too (Manders et al. 1993), 0 without signal.
    """
    n_channels = len(values)
    summary = np.empty((n_channels, 4))
    for i in range(len(starts) - 1):
        begin, end = starts[i], starts[i + 1]
        for c in range(n_channels):
            summary[c, 0], summary[c, 1], summary[c, 2], summary[c, 3] = _describe(values[c, begin:end], low[c])
        column = 0
        for a in range(n_channels):
            first = values[a, begin:end]
            mean_a, norm_a, threshold_a, signal_a = summary[a]
            for b in range(a + 1, n_channels):
                second = values[b, begin:end]
                mean_b, norm_b, threshold_b, signal_b = summary[b]
                product, shared_a, shared_b = 0.0, 0.0, 0.0
                for p in range(end - begin):
                    product += (first[p] - mean_a) * (second[p] - mean_b)
                    both = first[p] > threshold_a and second[p] > threshold_b
                    shared_a += first[p] - low[a] if both else 0.0
                    shared_b += second[p] - low[b] if both else 0.0
                scale = norm_a * norm_b
                out[i, column] = min(max(product / scale, -1.0), 1.0) if scale > 0 else 0.0
                out[i, column + 1] = shared_a / signal_a if signal_a > 0 else 0.0
                out[i, column + 2] = shared_b / signal_b if signal_b > 0 else 0.0
                column += 3
