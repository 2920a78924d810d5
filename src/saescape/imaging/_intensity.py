"""Statistics of the pixels of each object, for all objects of a field at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
INTENSITY_NAMES = (
    *("mean", "sd", "min", "max"),
    *(f"q{round(100 * q):02d}" for q in QUANTILES),
    *("sum", "skewness", "kurtosis", "displacement", "radial_inner", "radial_middle", "radial_outer"),
)
N_RINGS = 3


class ObjectPixels:
    """Pixels of labels 1..n of a label image, ordered by label (every label must occur)."""

    def __init__(self, labels: np.ndarray, n_objects: int) -> None:
        flat = labels.ravel()
        foreground = np.flatnonzero(flat)
        label_of = flat[foreground]
        order = np.argsort(label_of, kind="stable")
        self.index = foreground[order]
        self.object = label_of[order] - 1
        self.counts = np.bincount(self.object, minlength=n_objects)
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        self.y, self.x = np.divmod(self.index, labels.shape[1])
        self.center_y, self.center_x = self.mean(self.y), self.mean(self.x)
        dy, dx = self.y - self.center_y[self.object], self.x - self.center_x[self.object]
        self.radius = np.sqrt(dy**2 + dx**2)
        reach = np.maximum.reduceat(self.radius, self.starts)
        self.reach = np.where(reach > 0, reach, 1.0)
        self.ring = np.minimum((self.radius / self.reach[self.object] * N_RINGS).astype(np.int64), N_RINGS - 1)
        self.ring_key = self.object * N_RINGS + self.ring
        self.ring_counts = np.bincount(self.ring_key, minlength=n_objects * N_RINGS).reshape(-1, N_RINGS)

    def sum(self, values: np.ndarray) -> FloatArray:
        """Sum of `values` (one per pixel) over each object, in float64."""
        return np.add.reduceat(values, self.starts, dtype=np.float64)

    def mean(self, values: np.ndarray) -> FloatArray:
        """Mean of `values` (one per pixel) over each object."""
        return self.sum(values) / self.counts


def sort_within(values: np.ndarray, pixels: ObjectPixels) -> np.ndarray:
    """Sort values inside each object."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4:
        low = int(values.min())
        keys = (pixels.object.astype(np.int64) << 32) | (values.astype(np.int64) - low)
        keys.sort()
        return (keys & 0xFFFFFFFF) + low
    if values.dtype == np.float32:
        # order-preserving map of floats to unsigned integers: flip all bits of negative ones, the sign of the others
        bits = np.ascontiguousarray(values).view(np.uint32)
        mapped = np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))
        keys = (pixels.object.astype(np.int64) << 32) | mapped.astype(np.int64)
        keys.sort()
        mapped = (keys & 0xFFFFFFFF).astype(np.uint32)
        bits = np.where(mapped >> 31, mapped & np.uint32(0x7FFFFFFF), ~mapped)
        return bits.astype(np.uint32).view(np.float32)
    return values[np.lexsort((values, pixels.object))]


def intensity_features(values: np.ndarray, pixels: ObjectPixels) -> FloatArray:
    """(n, len(INTENSITY_NAMES)) statistics of one channel; `values` are its pixels in the order of `pixels`.

    Mean, standard deviation (n in the denominator), extremes and linearly interpolated quantiles; skewness and excess
    kurtosis (0 for constant objects); the distance between the intensity-weighted and the geometric centre over the
    object's radius; the mean of three concentric rings over the mean of the object (1 where a ring is empty).
    """
    ordered = sort_within(values, pixels)
    values = values.astype(np.float64)
    starts, counts = pixels.starts, pixels.counts
    total = pixels.sum(values)
    mean = total / counts
    centred = values - mean[pixels.object]
    squared = centred**2
    variance = pixels.mean(squared)
    # values that differ by rounding only count as constant
    spread = variance > (1e-12 * np.maximum(np.abs(mean), 1e-300)) ** 2
    safe = np.where(spread, variance, 1.0)
    skewness = np.where(spread, pixels.mean(squared * centred) / safe**1.5, 0.0)
    kurtosis = np.where(spread, pixels.mean(squared**2) / safe**2 - 3, 0.0)

    position = np.asarray(QUANTILES)[:, None] * (counts - 1)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, counts - 1)
    low, high = ordered[starts + below].astype(np.float64), ordered[starts + above].astype(np.float64)
    quantiles = low + (high - low) * (position - below)

    lowest, highest = ordered[starts].astype(np.float64), ordered[starts + counts - 1].astype(np.float64)
    # weights from the object's minimum on, so that an offset of the camera does not matter
    weights = values - lowest[pixels.object]
    mass = pixels.sum(weights)
    some_mass = np.where(mass > 0, mass, 1.0)
    shift_y = pixels.sum(weights * pixels.y) / some_mass - pixels.center_y
    shift_x = pixels.sum(weights * pixels.x) / some_mass - pixels.center_x
    displacement = np.where(mass > 0, np.hypot(shift_y, shift_x) / pixels.reach, 0.0)
    ring_sum = np.bincount(pixels.ring_key, values, minlength=pixels.ring_counts.size).reshape(-1, N_RINGS)
    filled = (pixels.ring_counts > 0) & (mean != 0)[:, None]
    rings = np.where(
        filled, ring_sum / np.maximum(pixels.ring_counts, 1) / np.where(mean != 0, mean, 1.0)[:, None], 1.0
    )
    columns = [mean, np.sqrt(variance), lowest, highest, *quantiles, total, skewness, kurtosis, displacement, *rings.T]
    return np.stack(columns, axis=1)


def channel_correlations(values: np.ndarray, pixels: ObjectPixels) -> FloatArray:
    """(n, C (C - 1) / 2) Pearson correlations of the channels' pixels inside each object; 0 if one is constant."""
    centred = []
    for channel in values:
        channel_values = channel.astype(np.float64)
        centred.append(channel_values - pixels.mean(channel_values)[pixels.object])
    norms = [np.sqrt(pixels.sum(channel**2)) for channel in centred]
    columns = []
    for i in range(len(values)):
        for j in range(i + 1, len(values)):
            scale = norms[i] * norms[j]
            correlation = pixels.sum(centred[i] * centred[j]) / np.where(scale > 0, scale, 1.0)
            columns.append(np.clip(np.where(scale > 0, correlation, 0.0), -1, 1))
    return np.stack(columns, axis=1) if columns else np.zeros((len(pixels.counts), 0))
