"""Open PNG, JPEG and BMP files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._axes import order_array

if TYPE_CHECKING:
    from pathlib import Path

    from ._opened import OpenedImage


def read_raster(path: Path, where: str) -> Any:
    """Pixels (Y, X) or (Y, X, samples); these formats can only be decoded whole."""
    from skimage.io import imread

    try:
        return imread(path)
    except (OSError, SyntaxError, ValueError) as error:
        msg = f"{where}: {str(path)!r} cannot be read; is the file complete? ({error})"
        raise ValueError(msg) from error


def open_raster(path: Path, axes: str | None, where: str) -> OpenedImage:
    """Channels R, G, B of a colour file, one channel of a grey one."""
    pixels = read_raster(path, where)
    return order_array(pixels, axes, where, "YX" if pixels.ndim == 2 else "YXS")
