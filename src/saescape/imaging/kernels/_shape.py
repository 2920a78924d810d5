"""Outline and second moments of each object."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._objects import clear, largest_box

# weight of a border pixel by the code of its neighbours (Benkrid and Crookes 2000)
_WEIGHTS = np.zeros(50)
_WEIGHTS[[5, 7, 15, 17, 25, 27]] = 1
_WEIGHTS[[21, 33]] = np.sqrt(2)
_WEIGHTS[[13, 23]] = (1 + np.sqrt(2)) / 2


@njit(cache=True, nogil=True)
def _perimeter(mask: np.ndarray, border: np.ndarray, height: int, width: int) -> float:
    """scikit-image's `perimeter` with its neighbourhood of 4; both arrays have a frame of one pixel of 0."""
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            inner = mask[y - 1, x] & mask[y + 1, x] & mask[y, x - 1] & mask[y, x + 1]
            border[y, x] = mask[y, x] & (1 - inner)
    total = 0.0
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            if border[y, x]:
                straight = border[y - 1, x] + border[y + 1, x] + border[y, x - 1] + border[y, x + 1]
                diagonal = border[y - 1, x - 1] + border[y - 1, x + 1] + border[y + 1, x - 1] + border[y + 1, x + 1]
                total += _WEIGHTS[1 + 2 * straight + 10 * diagonal]
    return total


@njit(cache=True, nogil=True)
def _euler_number(mask: np.ndarray, height: int, width: int) -> float:
    """Components minus holes, pixels joined by edges or corners (bit quads, Gray 1971)."""
    total = 0
    for y in range(height + 1):
        for x in range(width + 1):
            a, b, c, d = mask[y, x], mask[y, x + 1], mask[y + 1, x], mask[y + 1, x + 1]
            filled = a + b + c + d
            if filled == 1:
                total += 1
            elif filled == 3:
                total -= 1
            elif filled == 2 and a == d:
                total -= 2
    return total / 4


@njit(cache=True, nogil=True, error_model="numpy")
def measure_outline(
    starts: np.ndarray, rows: np.ndarray, columns: np.ndarray, sizes: np.ndarray, out: np.ndarray
) -> None:
    """Fill `out` (n, 5): perimeter, Euler number, and second central moments (row-row, column-column, row-column)."""
    tallest, widest = largest_box(sizes)
    mask = np.zeros((tallest + 2, widest + 2), dtype=np.uint8)
    border = np.zeros((tallest + 2, widest + 2), dtype=np.uint8)
    for i in range(len(starts) - 1):
        height, width = sizes[i]
        clear(mask, height + 2, width + 2, 0)
        clear(border, height + 2, width + 2, 0)
        sum_y, sum_x = 0, 0
        for p in range(starts[i], starts[i + 1]):
            mask[rows[p] + 1, columns[p] + 1] = 1
            sum_y += rows[p]
            sum_x += columns[p]
        n = starts[i + 1] - starts[i]
        center_y, center_x = sum_y / n, sum_x / n
        yy, xx, xy = 0.0, 0.0, 0.0
        for p in range(starts[i], starts[i + 1]):
            dy, dx = rows[p] - center_y, columns[p] - center_x
            yy += dy * dy
            xx += dx * dx
            xy += dy * dx
        out[i, 0] = _perimeter(mask, border, height, width)
        out[i, 1] = _euler_number(mask, height, width)
        out[i, 2], out[i, 3], out[i, 4] = yy / n, xx / n, xy / n
