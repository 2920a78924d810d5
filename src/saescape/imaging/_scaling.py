"""Intensity bounds of each channel over all fields, and scaling by them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from saescape._typing import FloatArray

PERCENTILES = (0.1, 99.9)
# pixels per channel that are kept when values cannot be counted (floats, 32-bit integers)
_SAMPLE_PIXELS = 2**22
_OTSU_BINS = 1024
# largest values of cameras that write fewer bits than the file has
_FULL_SCALES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))


@dataclass(frozen=True)
class Scaling:
    """Bounds of each channel: `low` becomes 0 and `high` becomes 1."""

    low: FloatArray
    high: FloatArray

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Scale (n, C, h, w) pixels to float32 in [0, 1]."""
        low = self.low.astype(np.float32)[:, None, None]
        factor = (1 / (self.high - self.low)).astype(np.float32)[:, None, None]
        return np.clip((crops.astype(np.float32) - low) * factor, 0, 1)


class ChannelSummary:
    """Distribution of the pixel values of each channel, gathered field by field.

    8- and 16-bit integers are counted, so that their percentiles are exact; of other types up to about four million
    pixels per channel are kept, drawn at random from every field.
    """

    def __init__(self, n_channels: int, dtype: np.dtype, n_fields: int) -> None:
        self.dtype = dtype
        self.counted = dtype.kind in "iu" and dtype.itemsize <= 2
        self.largest = np.full(n_channels, -np.inf)
        self.n_channels = n_channels
        if self.counted:
            self.offset = int(np.iinfo(dtype).min)
            self.counts = np.zeros((n_channels, int(np.iinfo(dtype).max) - self.offset + 1), dtype=np.int64)
        else:
            self.kept: list[np.ndarray] = []
            self.per_field = max(_SAMPLE_PIXELS // n_fields, 1024)

    def add(
        self,
        strips: Iterable[tuple[int, np.ndarray]],
        size: tuple[int, int],
        rng: np.random.Generator,
        where: str,
        names: Sequence[str] | None = None,
    ) -> None:
        """Add a field of `size` (Y, X): the first row and the pixels (C, h, X) of its strips from top to bottom.

        Raises on values that are not finite, after all strips. The result does not depend on how strips are cut.
        """
        n_bad, first_bad = np.zeros(self.n_channels, dtype=np.int64), None
        for start, strip in strips:
            if strip.dtype.kind == "f":
                bad = ~np.isfinite(strip)
                if bad.any():
                    if first_bad is None:
                        channel, y, x = (int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
                        first_bad = (channel, start + y, x)
                    n_bad += bad.sum((1, 2))
                    continue
            self.largest = np.maximum(self.largest, strip.reshape(self.n_channels, -1).max(1))
            if not self.counted:
                self.kept.append(_draw(strip, start, size, self.per_field, rng))
                continue
            from .kernels._histogram import count_values

            # files may have the other byte order
            native = strip.astype(strip.dtype.newbyteorder("="), copy=False)
            for values, counts in zip(native, self.counts, strict=True):
                count_values(values, self.offset, counts)
        if n_bad.any():
            shares = ", ".join(
                f"{100 * n_bad[channel] / np.prod(size):.3g} % of channel {names[channel] if names else channel!r}"
                for channel in np.flatnonzero(n_bad).tolist()
            )
            msg = (
                f"{where} has {n_bad.sum()} non-finite values ({shares}), the first at (channel, row, column) "
                f"{first_bad}; replace them, e.g. with `np.nan_to_num`."
            )
            raise ValueError(msg)

    def merge(self, other: ChannelSummary) -> None:
        """Add what another summary of the same type has gathered."""
        self.largest = np.maximum(self.largest, other.largest)
        if self.counted:
            self.counts += other.counts
        else:
            self.kept += other.kept

    def distribution(self) -> list[np.ndarray]:
        """Arrays that differ when the pixels do."""
        return [self.largest, *([self.counts] if self.counted else self.kept)]

    def _values(self, channel: int) -> np.ndarray:
        return np.concatenate([part[channel] for part in self.kept])

    def quantiles(self, channel: int, probabilities: tuple[float, ...]) -> FloatArray:
        """Linearly interpolated quantiles of one channel."""
        if not self.counted:
            return np.quantile(self._values(channel).astype(np.float64), probabilities)
        cumulative = np.cumsum(self.counts[channel])
        position = np.asarray(probabilities) * (cumulative[-1] - 1)
        below = np.floor(position).astype(np.int64)
        above = np.minimum(below + 1, cumulative[-1] - 1)
        low, high = (np.searchsorted(cumulative, rank, side="right") + self.offset for rank in (below, above))
        return low + (high - low) * (position - below)

    def percentile_scaling(self, names: list[str]) -> Scaling:
        """Bounds from percentiles; a channel that is almost constant runs to its largest value instead."""
        low, high = np.zeros(self.n_channels), np.ones(self.n_channels)
        constant = []
        for channel, name in enumerate(names):
            low[channel], high[channel] = self.quantiles(channel, tuple(p / 100 for p in PERCENTILES))
            if high[channel] <= low[channel]:
                high[channel] = self.largest[channel]
            if high[channel] <= low[channel]:
                constant.append(name)
                high[channel] = low[channel] + 1
        if constant:
            msg = f"`image`: every pixel of channel {', '.join(constant)} has the same value; it is scaled to 0."
            warnings.warn(msg, UserWarning, stacklevel=3)
        return Scaling(low, high)

    def saturation(self) -> FloatArray:
        """Value at which a pixel counts as saturated: the type's maximum, or the camera's full scale if reached."""
        if self.dtype.kind == "f":
            return self.largest
        full = float(np.iinfo(self.dtype).max)
        return np.array([value if value in _FULL_SCALES else full for value in self.largest])

    def otsu(self) -> FloatArray:
        """Otsu's threshold between background and foreground, per channel."""
        from skimage.filters import threshold_otsu

        thresholds = np.zeros(self.n_channels)
        for channel in range(self.n_channels):
            low, high = self.quantiles(channel, tuple(p / 100 for p in PERCENTILES))
            if high <= low:
                thresholds[channel] = high
                continue
            if self.counted:
                values = np.arange(self.counts.shape[1]) + self.offset
                counts, edges = np.histogram(values, _OTSU_BINS, range=(low, high), weights=self.counts[channel])
            else:
                counts, edges = np.histogram(self._values(channel), _OTSU_BINS, range=(low, high))
            thresholds[channel] = threshold_otsu(hist=(counts, (edges[1:] + edges[:-1]) / 2))
        return thresholds


def dtype_scaling(dtype: np.dtype, n_channels: int) -> Scaling:
    """Integers by the largest value of their type; floats stay as they are (clipped to [0, 1])."""
    full = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    return Scaling(np.zeros(n_channels), np.full(n_channels, full))


def _draw(
    strip: np.ndarray, first_row: int, size: tuple[int, int], n_pixels: int, rng: np.random.Generator
) -> np.ndarray:
    """(C, n) pixels of a strip, so that about `n_pixels` of the whole field come together.

    Of every row, or of every k-th one, one pixel is drawn from each of equal stretches.
    """
    height, width = size
    if n_pixels >= height * width:
        return strip.reshape(len(strip), -1).copy()
    per_row = min(max(1, n_pixels // height), width)
    every = max(1, round(height * per_row / n_pixels))
    rows = np.arange(-first_row % every, strip.shape[1], every)
    position = (np.arange(per_row) + rng.random((len(rows), per_row))) * (width / per_row)
    cols = np.minimum(position.astype(np.int64), width - 1)
    return strip[:, rows[:, None], cols].reshape(len(strip), -1)
