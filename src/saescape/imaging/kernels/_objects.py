"""Where the pixels of each object are."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def count_pixels(labels: np.ndarray, n_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,) and boxes (y0, x0, y1, x1) (n, 4) of labels 1..n of a (Y, X) image; a missing label has 0 pixels."""
    height, width = labels.shape
    counts = np.zeros(n_objects, dtype=np.int64)
    boxes = np.zeros((n_objects, 4), dtype=np.int64)
    for y in range(height):
        x = 0
        while x < width:
            label = labels[y, x]
            start = x
            x += 1
            while x < width and labels[y, x] == label:
                x += 1
            if label <= 0 or label > n_objects:
                continue
            box = boxes[label - 1]
            if counts[label - 1] == 0:
                box[0], box[1], box[3] = y, start, x
            else:
                box[1] = min(box[1], start)
                box[3] = max(box[3], x)
            box[2] = y + 1
            counts[label - 1] += x - start
    return counts, boxes


@njit(cache=True, nogil=True)
def sort_pixels(labels: np.ndarray, boxes: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position in the flat image, row and column in the object's box of every pixel, object by object.

    The pixels of an object keep the order of the image (row by row).
    """
    height, width = labels.shape
    n_objects = len(boxes)
    index = np.empty(starts[-1], dtype=np.int64)
    rows = np.empty(starts[-1], dtype=np.int32)
    columns = np.empty(starts[-1], dtype=np.int32)
    following = starts[:-1].copy()
    for y in range(height):
        x = 0
        while x < width:
            label = labels[y, x]
            start = x
            x += 1
            while x < width and labels[y, x] == label:
                x += 1
            if label <= 0 or label > n_objects:
                continue
            place = following[label - 1]
            top, left = boxes[label - 1, 0], boxes[label - 1, 1]
            for position in range(start, x):
                index[place] = y * width + position
                rows[place] = y - top
                columns[place] = position - left
                place += 1
            following[label - 1] = place
    return index, rows, columns


@njit(cache=True, nogil=True)
def locate(starts: np.ndarray, rows: np.ndarray, columns: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` (n, 3): centre (row, column in the box) and largest distance of a pixel from it (1 if that is 0)."""
    for i in range(len(starts) - 1):
        begin, end = starts[i], starts[i + 1]
        total_y, total_x = 0, 0
        for p in range(begin, end):
            total_y += rows[p]
            total_x += columns[p]
        center_y, center_x = total_y / (end - begin), total_x / (end - begin)
        farthest = 0.0
        for p in range(begin, end):
            dy, dx = rows[p] - center_y, columns[p] - center_x
            farthest = max(farthest, dy * dy + dx * dx)
        out[i, 0], out[i, 1] = center_y, center_x
        out[i, 2] = np.sqrt(farthest) if farthest > 0 else 1.0


@njit(cache=True, nogil=True)
def most_pixels(starts: np.ndarray) -> int:
    """Pixels of the largest object."""
    most = 0
    for i in range(len(starts) - 1):
        most = max(most, starts[i + 1] - starts[i])
    return most


@njit(cache=True, nogil=True)
def largest_box(sizes: np.ndarray) -> tuple[int, int]:
    """Largest height and largest width."""
    height, width = 0, 0
    for i in range(len(sizes)):
        height, width = max(height, sizes[i, 0]), max(width, sizes[i, 1])
    return height, width


@njit(cache=True, nogil=True)
def clear(grid: np.ndarray, height: int, width: int, value: int) -> None:
    """Set the first `height` rows and `width` columns to `value`."""
    for y in range(height):
        for x in range(width):
            grid[y, x] = value
