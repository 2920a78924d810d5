"""Convex hull of each object, in whole numbers."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._objects import clear, largest_box

# Hulls are those of the midpoints of all pixel edges, as in scikit-image. Along a side they are given by their
# extreme columns on half rows: place 2 r + 1 is row r, places 2 r and 2 r + 2 are its edges. Columns count in halves
# too, so that every comparison is exact.
_NONE = np.iinfo(np.int64).max


@njit(cache=True, nogil=True)
def _on_half_rows(extreme: np.ndarray, height: int, points: np.ndarray) -> None:
    """Smallest column (in halves) at each place from that of each row's pixels (_NONE where there is none)."""
    for place in range(2 * height + 1):
        points[place] = _NONE
    for r in range(height):
        if extreme[r] == _NONE:
            continue
        points[2 * r + 1] = 2 * extreme[r] - 1
        points[2 * r] = min(points[2 * r], 2 * extreme[r])
        points[2 * r + 2] = 2 * extreme[r]


@njit(cache=True, nogil=True)
def _lower_chain(points: np.ndarray, height: int, chain: np.ndarray) -> int:
    """Places of the vertices of the largest convex function below `points`; returns how many (Andrew's chain)."""
    n = 0
    for place in range(2 * height + 1):
        if points[place] == _NONE:
            continue
        while n > 1:
            a, b = chain[n - 2], chain[n - 1]
            if (points[b] - points[a]) * (place - a) < (points[place] - points[a]) * (b - a):
                break
            n -= 1
        chain[n] = place
        n += 1
    return n


@njit(cache=True, nogil=True)
def _fill_rows(points: np.ndarray, chain: np.ndarray, n: int, height: int, extreme: np.ndarray) -> None:
    """Smallest pixel column inside the hull on each row."""
    edge = 0
    for r in range(height):
        place = 2 * r + 1
        while edge < n - 2 and chain[edge + 1] < place:
            edge += 1
        a, b = chain[edge], chain[edge + 1]
        run = b - a
        at = points[a] * run + (points[b] - points[a]) * (place - a)
        extreme[r] = -((-at) // (2 * run))


@njit(cache=True, nogil=True, error_model="numpy")
def _feret(corners: np.ndarray, n: int) -> tuple[float, float]:
    """Largest distance between corners and smallest width of their hull, given in order, in halves of pixels."""
    largest, narrowest = 0, np.inf
    for i in range(n):
        for j in range(i):
            dy, dx = corners[i, 0] - corners[j, 0], corners[i, 1] - corners[j, 1]
            largest = max(largest, dy * dy + dx * dx)
    for i in range(n):
        following = (i + 1) % n
        dy, dx = corners[following, 0] - corners[i, 0], corners[following, 1] - corners[i, 1]
        if dy == 0 and dx == 0:
            continue
        farthest = 0
        for j in range(n):
            away = dy * (corners[j, 1] - corners[i, 1]) - dx * (corners[j, 0] - corners[i, 0])
            farthest = max(farthest, abs(away))
        narrowest = min(narrowest, farthest / np.sqrt(float(dy * dy + dx * dx)))
    return np.sqrt(float(largest)) / 2, narrowest / 2


@njit(cache=True, nogil=True, error_model="numpy")
def measure_hull(starts: np.ndarray, rows: np.ndarray, columns: np.ndarray, sizes: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` (n, 3): pixels in the convex hull, largest and smallest Feret diameter of those pixels' outline."""
    tallest, _ = largest_box(sizes)
    sides = np.empty((2, tallest), dtype=np.int64)
    points = np.empty((2, 2 * tallest + 1), dtype=np.int64)
    chains = np.empty((2, 2 * tallest + 1), dtype=np.int64)
    corners = np.empty((4 * tallest + 2, 2), dtype=np.int64)
    for i in range(len(starts) - 1):
        height, width = sizes[i]
        # the right side is measured from the right, which makes it a left side
        clear(sides, 2, height, _NONE)
        for p in range(starts[i], starts[i + 1]):
            r, x = rows[p], columns[p]
            sides[0, r] = min(sides[0, r], x)
            sides[1, r] = min(sides[1, r], width - 1 - x)
        for s in range(2):
            _on_half_rows(sides[s], height, points[s])
            n = _lower_chain(points[s], height, chains[s])
            _fill_rows(points[s], chains[s], n, height, sides[s])
        area = 0
        for r in range(height):
            area += width - sides[0, r] - sides[1, r]
        # outline of the pixels of the hull
        n_corners = 0
        for s in range(2):
            _on_half_rows(sides[s], height, points[s])
            n = _lower_chain(points[s], height, chains[s])
            for k in range(n):
                place = chains[s, k] if s == 0 else chains[s, n - 1 - k]
                column = points[s, place] if s == 0 else 2 * (width - 1) - points[s, place]
                corners[n_corners, 0], corners[n_corners, 1] = place, column
                n_corners += 1
        out[i, 0] = area
        out[i, 1], out[i, 2] = _feret(corners, n_corners)
