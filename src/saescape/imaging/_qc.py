"""Quality of the pixels of each observation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._sorted import SortedPixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray

# types whose pixels the kernel reads as they are
_KERNEL_TYPES = ("uint8", "uint16", "float32", "float64")
QC_NAMES = ("focus", "mean", "sd", "saturated", "foreground")


def block_quality(
    labels: np.ndarray,
    pixels: np.ndarray,
    n_objects: int,
    saturation: FloatArray,
    threshold: FloatArray,
    *,
    window: tuple[int, int] | None = None,
) -> FloatArray:
    """Quality of labels 1..n: (n, C, len(QC_NAMES)) float64, NaN for a label that does not occur.

    Focus is the variance of the Laplacian (four neighbours, mirrored at the border of the block), so that a block
    needs one more pixel around the objects than they have, unless the field ends there. The others are the mean, the
    standard deviation, and the shares of pixels from `saturation` and above `threshold` (C,) on.

    Parameters
    ----------
    labels
        (Y, X) whole numbers; 0 and numbers above `n_objects` are background.
    pixels
        (C, Y, X) finite pixels of any real type.
    n_objects
        Number of labels n.
    saturation, threshold
        (C,) value from which a pixel is saturated, and that above which it is foreground.
    window
        Size of the objects if they are windows that were stacked below each other: then the Laplacian is mirrored
        at the border of each window, and where it reaches over the border of the field.
    """
    from .kernels._quality import find_neighbours, measure_quality

    labels = np.ascontiguousarray(labels, dtype=np.int32)
    objects, present = SortedPixels.of(labels, n_objects)
    flat = [_readable(channel).reshape(-1) for channel in pixels]
    result = np.full((n_objects, len(flat), len(QC_NAMES)), np.nan)
    for members, group in objects.groups():
        neighbours = find_neighbours(labels, group.index, window is not None)
        found = np.empty((len(group.sizes), len(QC_NAMES)))
        for channel, values in enumerate(flat):
            limits = float(saturation[channel]), float(threshold[channel])
            measure_quality(values, group.starts, group.index, neighbours, *limits, found)
            result[present[members], channel] = found
    return result


def _readable(channel: np.ndarray) -> np.ndarray:
    """In one piece, in the byte order of the machine, and of a type that the kernel is compiled for."""
    dtype = channel.dtype.newbyteorder("=")
    return np.ascontiguousarray(channel, dtype=dtype if dtype.name in _KERNEL_TYPES else np.float64)


def qc_columns(channels: Sequence[str]) -> list[str]:
    """Names of the columns of `obs`, in the order of the flattened measures."""
    return [f"qc_{name}_{channel}" for channel in channels for name in QC_NAMES]
