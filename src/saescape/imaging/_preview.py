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


def composite(scaled: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Blend channels (..., C, h, w) in [0, 1] additively to (..., h, w, 3) uint8; R, G, B are taken as they are."""
    if tuple(names) == RGB:
        mixed = np.moveaxis(scaled, -3, -1)
    else:
        mixed = np.einsum("...chw,cr->...hwr", scaled, channel_colors(names))
    return (np.clip(mixed, 0, 1) * 255).round().astype(np.uint8)


def picture(pixels: np.ndarray, names: Sequence[str], bounds: Scaling, dtype: np.dtype) -> np.ndarray:
    """(..., h, w, 3) uint8 picture of (..., C, h, w) pixels in the units of an image of `dtype`.

    R, G, B are shown as they are, other channels between their bounds; of more than six channels the first six.
    """
    if tuple(names) == RGB:
        return composite(dtype_scaling(dtype, 3)(pixels), names)
    shown = slice(0, MAX_CHANNELS)
    return composite(bounds(pixels)[..., shown, :, :], names[shown])


def shrink(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Mean over blocks of `factor` x `factor` pixels (an incomplete last block is dropped), per channel, float32."""
    if factor == 1:
        return np.asarray(pixels, dtype=np.float32)
    height, width = pixels.shape[1] // factor, pixels.shape[2] // factor
    small = np.empty((pixels.shape[0], height, width), dtype=np.float32)
    for channel, shrunk in zip(pixels, small, strict=True):
        whole = np.asarray(channel[: height * factor, : width * factor])
        # rows first: sums of whole rows are much faster than of small blocks
        strips = whole.reshape(height, factor, -1).sum(1, dtype=np.float32)
        shrunk[:] = strips.reshape(height, width, factor).sum(2) / factor**2
    return small
