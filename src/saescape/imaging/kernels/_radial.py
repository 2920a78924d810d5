"""Pixel values of each object in rings around its centre."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._objects import most_pixels

N_RINGS = 3
N_WEDGES = 8


@njit(cache=True, nogil=True, error_model="numpy")
def _wedge(dy: float, dx: float) -> int:
    """Which of the eight sectors of 45 degrees."""
    return 4 * (dy < 0) + 2 * (dx < 0) + (abs(dy) > abs(dx))


@njit(cache=True, nogil=True, error_model="numpy")
def measure_rings(
    values: np.ndarray,
    starts: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    location: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill `out` (n, C, 6): mean of each ring over the mean of the object, then the variation over wedges of each ring.

    Rings are of equal width up to the farthest pixel; an empty one has ratio 1. Variation is the standard deviation
    over the mean of the mean values of the wedges of 45 degrees that have pixels (0 if that mean is 0).
    """
    n_sectors = N_RINGS * N_WEDGES
    counts = np.empty(n_sectors, dtype=np.int64)
    sums = np.empty(n_sectors)
    longest = most_pixels(starts)
    sector = np.empty(longest, dtype=np.uint8)
    for i in range(len(starts) - 1):
        begin, n = starts[i], starts[i + 1] - starts[i]
        center_y, center_x, reach = location[i]
        for s in range(n_sectors):
            counts[s] = 0
        for p in range(n):
            dy, dx = rows[begin + p] - center_y, columns[begin + p] - center_x
            ring = min(int(np.sqrt(dy * dy + dx * dx) / reach * N_RINGS), N_RINGS - 1)
            sector[p] = ring * N_WEDGES + _wedge(dy, dx)
            counts[sector[p]] += 1
        for c in range(len(values)):
            for s in range(n_sectors):
                sums[s] = 0
            mean = 0.0
            for p in range(n):
                sums[sector[p]] += values[c, begin + p]
            for s in range(n_sectors):
                mean += sums[s] / n
            for ring in range(N_RINGS):
                ring_sum, ring_count, wedge_sum, n_filled = 0.0, 0, 0.0, 0
                for s in range(ring * N_WEDGES, (ring + 1) * N_WEDGES):
                    ring_sum += sums[s]
                    ring_count += counts[s]
                    if counts[s] > 0:
                        wedge_sum += sums[s] / counts[s]
                        n_filled += 1
                out[i, c, ring], out[i, c, N_RINGS + ring] = 1.0, 0.0
                if ring_count == 0:
                    continue
                if mean != 0:
                    out[i, c, ring] = ring_sum / ring_count / mean
                wedge_mean = wedge_sum / n_filled
                if wedge_mean != 0:
                    squares = 0.0
                    for s in range(ring * N_WEDGES, (ring + 1) * N_WEDGES):
                        if counts[s] > 0:
                            squares += (sums[s] / counts[s] - wedge_mean) ** 2
                    out[i, c, N_RINGS + ring] = np.sqrt(squares / n_filled) / abs(wedge_mean)
