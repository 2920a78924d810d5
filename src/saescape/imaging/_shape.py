"""Shape of each object, with scikit-image's definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._hull import convex_area

if TYPE_CHECKING:
    from saescape._typing import FloatArray

    from ._intensity import ObjectPixels

SHAPE_NAMES = (
    *("area", "perimeter", "eccentricity", "solidity", "extent", "axis_major_length", "axis_minor_length"),
    *("form_factor", "aspect_ratio", "equivalent_diameter"),
)


def shape_features(labels: np.ndarray, pixels: ObjectPixels) -> FloatArray:
    """(n, len(SHAPE_NAMES)) descriptors of labels 1..n.

    Axis lengths and eccentricity are those of the ellipse with the same second moments; perimeter counts border
    pixels weighted by their neighbours (Benkrid and Crookes 2000); form factor is 4 pi area / perimeter ** 2.
    """
    area = pixels.counts.astype(np.float64)
    major, minor, eccentricity = _ellipse(pixels)
    outline = _perimeter(labels, len(area))
    box_height = np.maximum.reduceat(pixels.y, pixels.starts) - np.minimum.reduceat(pixels.y, pixels.starts) + 1
    box_width = np.maximum.reduceat(pixels.x, pixels.starts) - np.minimum.reduceat(pixels.x, pixels.starts) + 1
    solidity = area / convex_area(pixels)
    # a single pixel has no perimeter: its form factor is that of a disc
    form = np.where(outline > 0, 4 * np.pi * area / np.where(outline > 0, outline, 1.0) ** 2, 1.0)
    ratio = np.where(major > 0, minor / np.where(major > 0, major, 1.0), 1.0)
    columns = [area, outline, eccentricity, solidity, area / (box_height * box_width), major, minor, form, ratio]
    return np.stack([*columns, np.sqrt(4 * area / np.pi)], axis=1)


def _ellipse(pixels: ObjectPixels) -> tuple[FloatArray, FloatArray, FloatArray]:
    dy, dx = pixels.y - pixels.center_y[pixels.object], pixels.x - pixels.center_x[pixels.object]
    # pixels count as points: scikit-image adds no 1/12 for their extent either
    yy, xx, xy = pixels.mean(dy**2), pixels.mean(dx**2), pixels.mean(dx * dy)
    middle, half = (yy + xx) / 2, np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    largest, smallest = middle + half, np.maximum(middle - half, 0)
    ratio = np.where(largest > 0, smallest / np.where(largest > 0, largest, 1.0), 1.0)
    return 4 * np.sqrt(largest), 4 * np.sqrt(smallest), np.sqrt(1 - ratio)


def _perimeter(labels: np.ndarray, n_objects: int) -> FloatArray:
    """scikit-image's `perimeter` (4-neighbourhood) of every label in one pass over the image."""
    padded = np.pad(labels, 1)
    inner = (slice(1, -1), slice(1, -1))

    def shifted(array: np.ndarray, dy: int, dx: int) -> np.ndarray:
        return array[1 + dy : array.shape[0] - 1 + dy, 1 + dx : array.shape[1] - 1 + dx]

    interior = labels > 0
    straight, diagonal = ((0, 1), (0, -1), (1, 0), (-1, 0)), ((1, 1), (1, -1), (-1, 1), (-1, -1))
    for step in straight:
        interior &= shifted(padded, *step) == labels
    border = np.where(interior, 0, labels)
    padded[inner] = border
    y, x = np.nonzero(border)
    own = border[y, x]
    code = np.ones(len(own), dtype=np.int64)
    for steps, weight in ((straight, 2), (diagonal, 10)):
        for dy, dx in steps:
            code += weight * (padded[y + 1 + dy, x + 1 + dx] == own)
    weights = np.zeros(50)
    weights[[5, 7, 15, 17, 25, 27]] = 1
    weights[[21, 33]] = np.sqrt(2)
    weights[[13, 23]] = (1 + np.sqrt(2)) / 2
    return np.bincount(own - 1, weights[code], minlength=n_objects).astype(np.float64)
