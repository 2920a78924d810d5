"""Open TIFF, OME-TIFF and ImageJ TIFF files; what is sliced is read, and no more."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._logging import logg

from ._axes import order_array
from ._levels import level_number
from ._opened import OpenedImage
from ._tiff_metadata import tiff_channel_names, tiff_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import tifffile

# a compressed file up to this size is decoded once, a larger one as far as each slice needs it
WHOLE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class _Level:
    """One resolution of an image: `offset` is where its pixels start if they lie there one after the other."""

    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype
    offset: int | None
    byteorder: str
    n_absent: int
    end: int
    n_bytes: int
    page_chunks: tuple[int, ...]


def open_tiff(
    path: Path, axes: str | None, scale: int | str | None, where: str, whole_bytes: int = WHOLE_BYTES
) -> OpenedImage:
    """First image of the file, at level `scale` of its pyramid."""
    with _opened(path, where) as tiff:
        series = tiff.series[0]
        levels = [_describe(tiff, level) for level in series.levels]
        names, pixel_size, n_images = tiff_channel_names(tiff), tiff_pixel_size(tiff), len(tiff.series)
    if n_images > 1:
        logg.info(f"{where}: {path.name!r} holds {n_images} images; the first is taken")
    number = level_number(scale, [str(i) for i in range(len(levels))], where)
    level = levels[number]
    _check_complete(level, path, where)
    if level.offset is not None:
        mapped_type = level.dtype.newbyteorder(level.byteorder)  # type: ignore[arg-type]
        source: Any = MappedPixels(path, level.shape, mapped_type, level.offset)
    else:
        n_planes = len(level.shape) - len(level.page_chunks)
        chunks = (1,) * n_planes + level.page_chunks if n_planes >= 0 else None
        source = TiffPixels(path, number, level.shape, level.dtype, chunks, where, whole_bytes)
    opened = order_array(source, axes, where, level.axes)
    if pixel_size is not None:
        pixel_size *= levels[0].shape[levels[0].axes.index("Y")] / level.shape[level.axes.index("Y")]
    fits = names is not None and len(names) == opened.pixels.shape[0]
    return OpenedImage(opened.pixels, names if fits else opened.channel_names, pixel_size)


@dataclass
class MappedPixels:
    """Pixels that lie in the file as they are; it is mapped only while it is read, so that its pages do not add up."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.array(np.memmap(self.path, self.dtype, "r", self.offset, self.shape)[key])


@dataclass
class TiffPixels:
    """Pixels that must be decoded; the file is open only while it is read."""

    path: Path
    level: int
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...] | None
    where: str
    whole_bytes: int
    _whole: list[np.ndarray] = field(default_factory=list, repr=False)

    def __getitem__(self, key: Any) -> np.ndarray:
        if self._whole:
            return self._whole[0][key]
        small = int(np.prod(self.shape)) * self.dtype.itemsize <= self.whole_bytes
        with _opened(self.path, self.where) as tiff:
            series = tiff.series[0].levels[self.level]
            if small:
                self._whole.append(series.asarray())
                return self._whole[0][key]
            import zarr

            array: Any = zarr.open(series.aszarr(level=0), mode="r")
            return np.asarray(array[key])


def _describe(tiff: tifffile.TiffFile, level: tifffile.TiffPageSeries) -> _Level:
    pages = [page for page in level.pages if page is not None]
    ends = [
        page.parent.filehandle.size - (offset + size)
        for page in pages
        for offset, size in zip(page.dataoffsets, page.databytecounts, strict=False)
    ]
    mappable = level.dataoffset is not None and bool(level.keyframe.is_memmappable)
    return _Level(
        shape=tuple(int(n) for n in level.shape),
        axes=level.axes,
        dtype=np.dtype(level.dtype),
        offset=level.dataoffset if mappable else None,
        byteorder=tiff.byteorder,
        n_absent=len(level.pages) - len(pages),
        end=min(ends, default=0),
        n_bytes=tiff.filehandle.size,
        page_chunks=tuple(int(n) for n in level.keyframe.chunks),
    )


def _check_complete(level: _Level, path: Path, where: str) -> None:
    if level.offset is not None:
        missing = level.offset + int(np.prod(level.shape)) * level.dtype.itemsize - level.n_bytes
    else:
        missing = -level.end
    if missing > 0:
        msg = f"{where}: {str(path)!r} is truncated: at least {missing} bytes are missing. Copy it again."
        raise ValueError(msg)
    if level.n_absent:
        msg = f"{where}: {str(path)!r} lacks {level.n_absent} of its planes; is the file complete?"
        raise ValueError(msg)


@contextmanager
def _opened(path: Path, where: str) -> Iterator[tifffile.TiffFile]:
    """The open file; an error while it is read names the file."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            if not tiff.series:
                msg = "it holds no image"
                raise tifffile.TiffFileError(msg)
            yield tiff
    except Exception as error:  # decoders raise errors of many kinds
        msg = f"{where}: {str(path)!r} cannot be read as a TIFF; is the file complete? ({error})"
        raise ValueError(msg) from error
