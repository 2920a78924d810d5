"""Colour pictures of multichannel pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._scaling import dtype_scaling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray

    from ._scaling import Scaling

RGB = ("R", "G", "B")
MAX_CHANNELS = 6
_COLORS = {
    "blue": (0.25, 0.40, 1.0),
    "green": (0.0, 0.90, 0.2),
    "red": (1.0, 0.15, 0.1),
    "magenta": (1.0, 0.1, 1.0),
    "yellow": (1.0, 0.85, 0.0),
    "cyan": (0.0, 0.9, 1.0),
}
# what the usual dyes look like
_DYES = {
    "blue": ("dapi", "hoechst", "dna", "nuc", "405", "h3"),
    "green": ("gfp", "fitc", "488", "er", "alexa488"),
    "red": ("rfp", "tritc", "cy3", "568", "594", "mcherry", "actin", "agp"),
    "magenta": ("cy5", "647", "mito", "far"),
}


def channel_colors(names: Sequence[str]) -> FloatArray:
    """(C, 3) colour of each channel: grey for one, those of the dyes where a name tells, else fixed distinct ones."""
    if len(names) == 1:
        return np.ones((1, 3))
    free = list(_COLORS)
    chosen: dict[int, str] = {}
    for i, name in enumerate(names):
        for color, dyes in _DYES.items():
            if color in free and name.lower().startswith(dyes):
                chosen[i] = color
                free.remove(color)
                break
    order = [color for color in ("green", "magenta", "cyan", "yellow", "red", "blue") if color in free]
    for i in range(len(names)):
        if i not in chosen:
            chosen[i] = order.pop(0) if order else "yellow"
    return np.array([_COLORS[chosen[i]] for i in range(len(names))])


def composite(scaled: np.ndarray, names: Sequence[str], colors: FloatArray | None = None) -> np.ndarray:
    """Blend channels (..., C, h, w) in [0, 1] additively to (..., h, w, 3) uint8.

    Without (C, 3) `colors`, R, G, B are taken as they are, and other channels have the colours of their names.
    """
    if tuple(names) == RGB and colors is None:
        mixed = np.moveaxis(scaled, -3, -1)
    else:
        mixed = np.einsum("...chw,cr->...hwr", scaled, channel_colors(names) if colors is None else colors)
    return (np.clip(mixed, 0, 1) * 255).round().astype(np.uint8)


def picture(
    pixels: np.ndarray, names: Sequence[str], bounds: Scaling, dtype: np.dtype, colors: FloatArray | None = None
) -> np.ndarray:
    """(..., h, w, 3) uint8 picture of (..., C, h, w) pixels in the units of an image of `dtype`.

    R, G, B are shown as they are, other channels between their bounds; of more than six channels the first six.
    """
    if tuple(names) == RGB:
        return composite(dtype_scaling(dtype, 3)(pixels), names, colors)
    shown = slice(0, MAX_CHANNELS)
    return composite(bounds(pixels)[..., shown, :, :], names[shown], colors)


class Preview:
    """Mean over blocks of `factor` x `factor` pixels of a (C, Y, X) image, gathered strip by strip.

    An incomplete last block is dropped.
    """

    def __init__(self, shape: tuple[int, int, int], factor: int) -> None:
        self.factor = factor
        self._sums = np.zeros((shape[0], shape[1] // factor, shape[2] // factor))

    def add(self, start: int, strip: np.ndarray) -> None:
        """Add the rows of the image from `start` on."""
        factor, (_, height, width) = self.factor, self._sums.shape
        stop = min(start + strip.shape[1], height * factor)
        for row in range(start // factor, -(-stop // factor)):
            first, last = max(row * factor, start), min((row + 1) * factor, stop)
            part = strip[:, first - start : last - start, : width * factor]
            # rows first: sums of whole rows are much faster than of small blocks; infinite values are found elsewhere
            with np.errstate(invalid="ignore"):
                sums = part.sum(1, dtype=np.float64)
                self._sums[:, row] += sums.reshape(-1, width, factor).sum(2)

    def mean(self) -> np.ndarray:
        """The small image, (C, y, x) float32."""
        return (self._sums / self.factor**2).astype(np.float32)
