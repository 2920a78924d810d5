"""Open one image or one label image, whatever holds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._array import as_array, open_array
from ._channels import name_channels
from ._files import TIFF_SUFFIXES, check_file
from ._lazy import LazyPixels, OrderedAxes, Plane, Shifted, Stacked
from ._opened import OpenedImage, Reading, check_pixels, is_path
from ._raster import open_raster, read_raster
from ._tiff import WHOLE_BYTES, open_tiff
from ._zarr import is_zarr, open_zarr

# decoded planes of a field of several files that are kept between two reads
_STACK_BYTES = 256 * 2**20


@dataclass(frozen=True)
class ChannelFiles:
    """A field whose channels lie in different files or arrays; several planes of a channel are projected."""

    names: tuple[str, ...]
    planes: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class MovedLabels:
    """Labels whose first pixel lies at (row, column) `offset` of an image of that (Y, X) shape."""

    source: Any
    offset: tuple[int, int]
    shape: tuple[int, int]


def open_image(source: Any, where: str, reading: Reading | None = None) -> OpenedImage:
    """Open one field: file, zarr folder, files of channels, numpy, dask or xarray array.

    Raises
    ------
    TypeError
        Pixels that are not real numbers.
    ValueError
        Axes that cannot be (C, Y, X), (Y, X) or (C, Z, Y, X), or a file that cannot be read.
    KeyError
        A channel that is not there.
    """
    reading = reading or Reading()
    if isinstance(source, ChannelFiles):
        opened = _open_channels(source, where, reading)
    else:
        opened = _open_source(source, where, reading, WHOLE_BYTES)
    return name_channels(opened, reading, where)


def open_label_image(source: Any, where: str, scale: int | str | None = None) -> Any:
    """One label image as (Y, X) numpy, dask or lazy array; its values are checked elsewhere."""
    if isinstance(source, MovedLabels):
        return Shifted(open_label_image(source.source, where, scale), source.offset, source.shape)
    if is_path(source):
        path = check_file(source, where)
        if is_zarr(path):
            return _single_plane(open_zarr(path, None, scale, where).pixels, where)
        if path.suffix.lower() in TIFF_SUFFIXES:
            return _single_plane(open_tiff(path, None, None, where).pixels, where)
        source = read_raster(path, where)
    if hasattr(source, "dims") and hasattr(source, "data"):
        source = source.data
    labels = as_array(source)
    if not isinstance(labels, np.ndarray) and not hasattr(labels, "dask"):
        return _single_plane(open_array(labels, None, where).pixels, where)
    while labels.ndim > 2 and labels.shape[0] == 1:
        labels = labels[0]
    return _check_plane(labels, where)


def pixel_size_of(source: Any, reading: Reading) -> float | None:
    """Micrometres per pixel, as far as the metadata of a file (of channels: the first file) tell."""
    if isinstance(source, ChannelFiles):
        source = source.planes[0][0]
    if not is_path(source) or not (is_zarr(Path(source)) or Path(source).suffix.lower() in TIFF_SUFFIXES):
        return None
    return _open_source(source, "`image`", reading, WHOLE_BYTES).pixel_size


def _open_source(source: Any, where: str, reading: Reading, whole_bytes: int) -> OpenedImage:
    if not is_path(source):
        opened = open_array(source, reading.axes, where)
    else:
        path = check_file(source, where)
        if is_zarr(path):
            opened = open_zarr(path, reading.axes, reading.scale, where)
        elif path.suffix.lower() in TIFF_SUFFIXES:
            opened = open_tiff(path, reading.axes, reading.scale, where, whole_bytes)
        else:
            opened = open_raster(path, reading.axes, where)
    check_pixels(opened.pixels, where)
    return opened


def _open_channels(source: ChannelFiles, where: str, reading: Reading) -> OpenedImage:
    n_files = sum(map(len, source.planes))
    stacked, first, sizes = [], None, set()
    for name, planes in zip(source.names, source.planes, strict=True):
        parts = []
        for plane in planes:
            at = f"{where}, channel {name!r}"
            opened = _open_source(plane, at, reading, min(WHOLE_BYTES, _STACK_BYTES // n_files))
            pixels = opened.pixels
            if pixels.shape[0] != 1:
                msg = f"{at} must hold one channel, found {pixels.shape[0]} (shape {tuple(pixels.shape)})."
                raise ValueError(msg)
            first = first if first is not None else pixels
            if pixels.shape != first.shape or pixels.dtype != first.dtype:
                msg = (
                    f"{at} has shape {tuple(pixels.shape[1:])} and dtype {pixels.dtype}, but channel "
                    f"{source.names[0]!r} has {tuple(first.shape[1:])} and {first.dtype}; they must be equal."
                )
                raise ValueError(msg)
            sizes.add(opened.pixel_size)
            parts.append(pixels)
        stacked.append(parts)
    return OpenedImage(Stacked(stacked), source.names, sizes.pop() if len(sizes) == 1 else None)


def _single_plane(pixels: Any, where: str) -> Any:
    depth = pixels.depth if isinstance(pixels, OrderedAxes) else 1
    if pixels.shape[0] != 1 or depth != 1:
        planes = f" with {depth} planes, and labels are not projected" if depth > 1 else ""
        msg = f"{where} must be a (Y, X) label image, found shape {tuple(pixels.shape)}{planes}."
        raise ValueError(msg)
    return Plane(pixels) if isinstance(pixels, LazyPixels) else pixels[0]


def _check_plane(labels: Any, where: str) -> Any:
    if labels.ndim != 2:
        msg = f"{where} must be a (Y, X) label image, found shape {tuple(labels.shape)}."
        raise ValueError(msg)
    return labels
