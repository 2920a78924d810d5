"""What opening gives, and the checks that every source passes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

RGB_NAMES = ("R", "G", "B")


@dataclass(frozen=True)
class OpenedImage:
    """Pixels as (C, Y, X) numpy, dask or lazy array, channel names that came with them, and micrometres per pixel."""

    pixels: Any
    channel_names: tuple[str, ...] | None = None
    pixel_size: float | None = None


@dataclass(frozen=True)
class Reading:
    """How the images of a call are read: declared axes, resolution level, names of the channels, and which to keep."""

    axes: str | None = None
    scale: int | str | None = None
    channel_names: tuple[str, ...] | None = None
    channels: tuple[tuple[str, str], ...] | None = None


def is_path(source: object) -> bool:
    """Whether `source` names a file."""
    return isinstance(source, str | Path)


def check_pixels(pixels: Any, where: str) -> None:
    """Raise on pixels that are not real numbers, and on empty images."""
    dtype = np.dtype(pixels.dtype)
    if dtype.kind not in "fiu":
        msg = f"{where} must hold integers or floats, found dtype {dtype}."
        raise TypeError(msg)
    if 0 in pixels.shape:
        msg = f"{where} is empty: shape {tuple(pixels.shape)}."
        raise ValueError(msg)
