"""Grey-level co-occurrence inside each object (Haralick et al. 1973, as scikit-image computes it)."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._objects import clear, largest_box

LEVELS = 16
# level of everything outside the object
_OUTSIDE = LEVELS


@njit(cache=True, nogil=True, error_model="numpy")
def _count_pairs(grid: np.ndarray, height: int, width: int, counts: np.ndarray) -> None:
    """Add pairs of neighbours to `counts` (4 directions, LEVELS + 1, LEVELS + 1); `grid` has a frame of one pixel."""
    counts[:] = 0
    for y in range(1, height + 1):
        row, below = grid[y], grid[y + 1]
        for x in range(1, width + 1):
            level = row[x]
            if level == _OUTSIDE:
                continue
            # one table per direction, as writing twice to one place in a row would have to wait
            counts[0, level, row[x + 1]] += 1
            counts[1, level, below[x]] += 1
            counts[2, level, below[x + 1]] += 1
            counts[3, level, below[x - 1]] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _properties(counts: np.ndarray, out: np.ndarray) -> None:
    """Contrast, dissimilarity, homogeneity, energy, entropy and correlation of the normalised, symmetric sum."""
    n_pairs = 0.0
    for i in range(LEVELS):
        for j in range(LEVELS):
            for direction in range(1, len(counts)):
                counts[0, i, j] += counts[direction, i, j]
            n_pairs += 2 * counts[0, i, j]
    contrast, dissimilarity, homogeneity, energy, entropy = 0.0, 0.0, 0.0, 0.0, 0.0
    mean, square, product = 0.0, 0.0, 0.0
    if n_pairs == 0:
        out[0], out[1], out[2], out[3], out[4], out[5] = 0.0, 0.0, 1.0, 1.0, 0.0, 1.0
        return
    for i in range(LEVELS):
        for j in range(i + 1):
            count = counts[0, i, j] + counts[0, j, i]
            if count == 0:
                continue
            share = count / n_pairs
            weight = share if i == j else 2 * share
            difference = i - j
            contrast += weight * difference * difference
            dissimilarity += weight * difference
            homogeneity += weight / (1 + difference * difference)
            energy += weight * share
            entropy -= weight * np.log(share)
            mean += weight * (i + j) / 2
            square += weight * (i * i + j * j) / 2
            product += weight * i * j
    variance = square - mean * mean
    out[0], out[1], out[2], out[3], out[4] = contrast, dissimilarity, homogeneity, np.sqrt(energy), entropy
    out[5] = (product - mean * mean) / variance if variance > 1e-15 else 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def measure_texture(
    values: np.ndarray,
    starts: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    sizes: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill `out` (n, C, 6); grey levels run from `low` to `high` (C,) and `sizes` (n, 2) are those of the boxes.

    Neighbours at distance 1 to the right, below and on both diagonals, directions added up, both pixels in the object.
    Without pairs the properties are those of a flat object.
    """
    tallest, widest = largest_box(sizes)
    grid = np.empty((tallest + 2, widest + 2), dtype=np.uint8)
    counts = np.empty((4, LEVELS + 1, LEVELS + 1), dtype=np.int64)
    for c in range(len(values)):
        offset, factor = np.float32(low[c]), np.float32(LEVELS / (high[c] - low[c]))
        for i in range(len(starts) - 1):
            height, width = sizes[i]
            clear(grid, height + 2, width + 2, _OUTSIDE)
            for p in range(starts[i], starts[i + 1]):
                scaled = (np.float32(values[c, p]) - offset) * factor
                level = min(max(scaled, np.float32(0)), np.float32(LEVELS - 1))
                grid[rows[p] + 1, columns[p] + 1] = np.uint8(level)
            _count_pairs(grid, height, width, counts)
            _properties(counts, out[i, c])
