"""How often each value occurs."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def count_values(pixels: np.ndarray, smallest: int, counts: np.ndarray) -> None:
    """Add the pixels (Y, X) of a small integer type to `counts`, the first of which is that of `smallest`."""
    height, width = pixels.shape
    for y in range(height):
        for x in range(width):
            counts[np.int64(pixels[y, x]) - smallest] += 1
