"""Quality of the pixels of each observation, and which observations stand out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._intensity import ObjectPixels

QC_NAMES = ("focus", "mean", "saturated", "foreground")
# median absolute deviations (scaled to a standard deviation) beyond which a value is an outlier
MAX_DEVIATIONS = 5.0
MAX_SATURATED = 0.05
# fields with fewer observations than this are judged together
_MIN_FIELD = 20


def laplacian(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Laplacian of one channel (C, Y, X) after the other, float32, mirrored at the border."""
    for channel in pixels:
        yield ndimage.laplace(channel.astype(np.float32), mode="mirror")


def qc_measures(
    values: np.ndarray, sharpness: np.ndarray, pixels: ObjectPixels, saturation: FloatArray, threshold: FloatArray
) -> FloatArray:
    """(n, C, len(QC_NAMES)): variance of the Laplacian, mean, share of saturated and of foreground pixels."""
    measures = np.empty((len(pixels.counts), len(values), len(QC_NAMES)))
    for channel, (channel_values, channel_sharpness) in enumerate(zip(values, sharpness, strict=True)):
        deviation = channel_sharpness.astype(np.float64)
        deviation -= pixels.mean(deviation)[pixels.object]
        measures[:, channel, 0] = pixels.mean(deviation**2)
        measures[:, channel, 1] = pixels.mean(channel_values)
        measures[:, channel, 2] = pixels.mean(channel_values >= saturation[channel])
        measures[:, channel, 3] = pixels.mean(channel_values > threshold[channel])
    return measures


def qc_columns(channels: Sequence[str]) -> list[str]:
    """Names of the columns of `obs`, in the order of the flattened measures."""
    return [f"qc_{name}_{channel}" for channel in channels for name in QC_NAMES]


def qc_pass(measures: FloatArray, field: IntArray) -> BoolArray:
    """Observations within five scaled median absolute deviations of their field's median in focus and mean.

    Both are compared as logarithms. Focus counts only below the median, the mean on both sides; more than 5 % of
    saturated pixels in a channel fails as well. Fields of fewer than 20 observations are judged together.
    """
    passed: BoolArray = np.all(measures[:, :, 2] <= MAX_SATURATED, axis=1)
    group = np.where(np.bincount(field)[field] < _MIN_FIELD, -1, field)
    # a shift to positive values for images with negative pixels; tiny against any real value
    for index, two_sided in ((0, False), (1, True)):
        values = measures[:, :, index]
        floor = np.minimum(values.min(0), 0)
        logs = np.log(values - floor + 1e-6 * np.maximum(np.abs(values).max(0), 1e-300))
        for one in np.unique(group):
            members = group == one
            centred = logs[members] - np.median(logs[members], axis=0)
            spread = 1.4826 * np.median(np.abs(centred), axis=0)
            limit = MAX_DEVIATIONS * np.where(spread > 0, spread, np.inf)
            outlier = (centred < -limit) | ((centred > limit) & two_sided)
            passed[members] &= ~outlier.any(1)
    return passed
