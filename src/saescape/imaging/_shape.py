"""Shape of each object, with scikit-image's definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray

    from ._sorted import SortedPixels

SHAPE_NAMES = (
    *("area", "perimeter", "eccentricity", "solidity", "extent", "axis_major_length", "axis_minor_length"),
    *("form_factor", "aspect_ratio", "equivalent_diameter"),
    *("feret_diameter_max", "feret_diameter_min", "euler_number"),
)


def object_shapes(pixels: SortedPixels) -> FloatArray:
    """(n, len(SHAPE_NAMES)) descriptors of objects, with the definitions of scikit-image where it has them.

    Axis lengths and eccentricity are those of the ellipse with the same second moments; perimeter counts border
    pixels weighted by their neighbours (Benkrid and Crookes 2000); form factor is 4 pi area / perimeter ** 2; Feret
    diameters are the largest and the smallest distance of parallel lines that touch the convex hull.
    """
    from .kernels._hull import measure_hull
    from .kernels._shape import measure_outline

    area = np.diff(pixels.starts).astype(np.float64)
    hull, outline = np.empty((len(area), 3)), np.empty((len(area), 5))
    measure_hull(pixels.starts, pixels.rows, pixels.columns, pixels.sizes, hull)
    measure_outline(pixels.starts, pixels.rows, pixels.columns, pixels.sizes, outline)
    perimeter, euler, yy, xx, xy = outline.T
    major, minor, eccentricity = _axes(yy, xx, xy)
    # a single pixel has no perimeter: its form factor is that of a disc
    form = np.where(perimeter > 0, 4 * np.pi * area / np.where(perimeter > 0, perimeter, 1.0) ** 2, 1.0)
    ratio = np.where(major > 0, minor / np.where(major > 0, major, 1.0), 1.0)
    columns = [area, perimeter, eccentricity, area / hull[:, 0], area / pixels.sizes.prod(1), major, minor]
    columns += [form, ratio, np.sqrt(4 * area / np.pi), hull[:, 1], hull[:, 2], euler]
    return np.stack(columns, axis=1)


def _axes(yy: FloatArray, xx: FloatArray, xy: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    # pixels count as points: scikit-image adds no 1/12 for their extent either
    middle, half = (yy + xx) / 2, np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    largest, smallest = middle + half, np.maximum(middle - half, 0)
    ratio = np.where(largest > 0, smallest / np.where(largest > 0, largest, 1.0), 1.0)
    return 4 * np.sqrt(largest), 4 * np.sqrt(smallest), np.sqrt(1 - ratio)
