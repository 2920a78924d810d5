"""Quality of the pixels of each object."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._objects import most_pixels


@njit(cache=True, nogil=True)
def find_neighbours(labels: np.ndarray, index: np.ndarray, own_only: bool) -> np.ndarray:  # noqa: FBT001
    """(n_pixels, 4) positions in the flat image above, below, left and right of each of some pixels.

    One outside the image, or (`own_only`) with another label, is replaced by the one opposite, or by the pixel.
    """
    height, width = labels.shape
    flat = labels.reshape(-1)
    found = np.empty((len(index), 4), dtype=np.int64)
    row = 0
    for p in range(len(index)):
        here = index[p]
        # most pixels are in the row of the one before
        if here < row * width or here >= (row + 1) * width:
            row = here // width
        column = here - row * width
        up = row > 0 and not (own_only and flat[here - width] != flat[here])
        down = row < height - 1 and not (own_only and flat[here + width] != flat[here])
        left = column > 0 and not (own_only and flat[here - 1] != flat[here])
        right = column < width - 1 and not (own_only and flat[here + 1] != flat[here])
        found[p, 0] = here - width if up else (here + width if down else here)
        found[p, 1] = here + width if down else (here - width if up else here)
        found[p, 2] = here - 1 if left else (here + 1 if right else here)
        found[p, 3] = here + 1 if right else (here - 1 if left else here)
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def measure_quality(
    channel: np.ndarray,
    starts: np.ndarray,
    index: np.ndarray,
    neighbours: np.ndarray,
    saturation: float,
    threshold: float,
    out: np.ndarray,
) -> None:
    """Fill `out` (n, 5): variance of the Laplacian, mean, SD, share of saturated and of foreground pixels."""
    longest = most_pixels(starts)
    sharpness, pixels = np.empty(longest), np.empty(longest)
    for i in range(len(starts) - 1):
        begin, n = starts[i], starts[i + 1] - starts[i]
        total, total_sharpness, n_saturated, n_foreground = 0.0, 0.0, 0, 0
        first = np.float64(channel[index[begin]])
        for p in range(n):
            up, down, left, right = neighbours[begin + p]
            value = np.float64(channel[index[begin + p]])
            around = np.float64(channel[up]) + channel[down] + channel[left] + channel[right]
            pixels[p] = value - first
            sharpness[p] = around - 4 * value
            total += pixels[p]
            total_sharpness += sharpness[p]
            if value >= saturation:
                n_saturated += 1
            if value > threshold:
                n_foreground += 1
        mean, mean_sharpness = total / n, total_sharpness / n
        squares, squares_sharpness = 0.0, 0.0
        for p in range(n):
            squares += (pixels[p] - mean) ** 2
            squares_sharpness += (sharpness[p] - mean_sharpness) ** 2
        out[i, 0], out[i, 1], out[i, 2] = squares_sharpness / n, first + mean, np.sqrt(squares / n)
        out[i, 3], out[i, 4] = n_saturated / n, n_foreground / n
