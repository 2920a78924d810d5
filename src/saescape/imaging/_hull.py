"""Pixels in the convex hull of each object, for all objects at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import IntArray

    from ._intensity import ObjectPixels

# float64 values of one work array
_MAX_VALUES = 2**21
# pixels that lie on an edge of the hull belong to it, in spite of rounding
_TOLERANCE = 1e-9


def convex_area(pixels: ObjectPixels) -> IntArray:
    """Area of the convex hull as scikit-image counts it: of the midpoints of all pixel edges.

    A pixel of row r reaches half a pixel to its sides at r, and not at all at r - 1/2 and r + 1/2. So the left
    outline of a hull is the convex minorant of the leftmost points on half rows, and the right one likewise.
    """
    width = int(pixels.x.max()) + 1
    line = pixels.object.astype(np.int64) * (int(pixels.y.max()) + 1) + pixels.y
    first = np.flatnonzero(np.concatenate([[True], line[1:] != line[:-1]]))
    last = np.concatenate([first[1:], [len(line)]]) - 1
    owner, left, right = pixels.object[first], pixels.x[first], pixels.x[last]
    top = np.minimum.reduceat(pixels.y, pixels.starts)
    height = np.maximum.reduceat(pixels.y, pixels.starts) - top + 1
    row = pixels.y[first] - top[owner]
    lines_before = np.searchsorted(owner, np.arange(len(height) + 1))

    area = np.zeros(len(height), dtype=np.int64)
    order = np.argsort(height, kind="stable")
    start = 0
    while start < len(order):
        # objects of similar height together; the tallest decides how many fit
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * (2 * height[order[stop]] + 1) <= _MAX_VALUES:
            stop += 1
        members = order[start:stop]
        chosen = np.concatenate([np.arange(lines_before[i], lines_before[i + 1]) for i in members])
        slot = np.repeat(np.arange(len(members)), np.diff(lines_before)[members])
        tallest = int(height[members[-1]])
        outlines = []
        for side in (left, width - right):
            extreme = np.full((len(members), tallest), np.inf)
            extreme[slot, row[chosen]] = side[chosen]
            outlines.append(_minorant(_on_half_rows(extreme), 2 * height[members])[:, 1::2])
        begin = np.ceil(outlines[0] - _TOLERANCE)
        end = width - np.ceil(outlines[1] - _TOLERANCE)
        inside = np.arange(tallest) < height[members, None]
        area[members] = np.where(inside, end - begin + 1, 0).sum(1)
        start = stop
    return area


def _on_half_rows(extreme: np.ndarray) -> np.ndarray:
    """Leftmost point at rows -1/2, 0, 1/2, ... from the leftmost pixel of each row (infinite where there is none)."""
    n_objects, n_rows = extreme.shape
    points = np.full((n_objects, 2 * n_rows + 1), np.inf)
    points[:, 1::2] = extreme - 0.5
    points[:, :-1:2] = extreme
    points[:, 2::2] = np.minimum(points[:, 2::2], extreme)
    return points


def _minorant(points: np.ndarray, end: IntArray) -> np.ndarray:
    """Largest convex function below each row of `points`, between 0 and its last finite place `end`.

    Gift wrapping, one vertex of every object at a time.
    """
    n_objects, n_points = points.shape
    place = np.arange(n_points)
    everyone = np.arange(n_objects)
    hull = np.where(place == 0, points, np.inf)
    vertex = np.zeros(n_objects, dtype=np.int64)
    while (active := np.flatnonzero(vertex < end)).size:
        here = vertex[active, None]
        ahead = place > here
        at = points[active, vertex[active], None]
        slopes = np.where(ahead, (points[active] - at) / np.where(ahead, place - here, 1), np.inf)
        following = slopes.argmin(1)
        slope = slopes[everyone[: len(active)], following]
        line = at + slope[:, None] * (place - here)
        hull[active] = np.where(ahead & (place <= following[:, None]), line, hull[active])
        vertex[active] = following
    return hull
