"""Pixels on disk that look like an array (C, Y, X) and are read when they are sliced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from operator import index
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import IntArray


class LazyPixels(ABC):
    """What every kind of lazy pixels shares: indexing by integers, slices and lists."""

    shape: tuple[int, ...]
    dtype: np.dtype
    # what is read at once at least, where that is known
    chunks: tuple[int, ...] | None = None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        keys = _full_key(key, self.ndim)
        single = tuple(axis for axis, one in enumerate(keys) if not isinstance(one, slice | list | np.ndarray))
        wanted = [_positions(one, length) for one, length in zip(keys, self.shape, strict=True)]
        if any(len(one) == 0 for one in wanted):
            return np.empty([len(one) for one in wanted], dtype=self.dtype).squeeze(single)
        return self._read(*wanted).squeeze(single)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:  # noqa: FBT001
        whole = self[(slice(None),) * self.ndim]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    @abstractmethod
    def _read(self, *wanted: range | IntArray) -> np.ndarray:
        """The pixels at the given positions of each axis."""


class OrderedAxes(LazyPixels):
    """An array of any axis order as (C, Y, X); `Z` is projected by its maximum, plane by plane.

    `axes` names each axis of `source` by a letter, `channel` is the letter that stands for the channels. All other
    axes must have length 1.
    """

    def __init__(self, source: Any, axes: str, channel: str | None) -> None:
        self.source, self.axes, self.channel = source, axes, channel
        size = dict(zip(axes, (int(n) for n in source.shape), strict=True))
        self.shape = (1 if channel is None else size[channel], size["Y"], size["X"])
        self.dtype = np.dtype(source.dtype).newbyteorder("=")
        self.depth = size.get("Z", 1)
        self.step, self.chunks = 1, None
        chunks = getattr(source, "chunks", None)
        if _is_plain(chunks):
            part = dict(zip(axes, (int(n) for n in chunks), strict=True))
            self.step = part.get("Z", 1)
            self.chunks = (1 if channel is None else part[channel], part["Y"], part["X"])

    def _read(self, *wanted: range | IntArray) -> np.ndarray:
        channels, rows, columns = wanted
        if not isinstance(channels, range):
            # stores on disk take slices only
            return np.concatenate([self._read(range(c, c + 1), rows, columns) for c in np.asarray(channels).tolist()])
        ys, xs = _as_slice(rows), _as_slice(columns)
        projected = self._part(_as_slice(channels), slice(0, self.step), ys, xs)
        for first in range(self.step, self.depth, self.step):
            plane = self._part(_as_slice(channels), slice(first, first + self.step), ys, xs)
            np.maximum(projected, plane, out=projected)
        return projected

    def _part(self, channels: slice, planes: slice, rows: slice, columns: slice) -> np.ndarray:
        given = {"Z": planes, "Y": rows, "X": columns}
        if self.channel is not None:
            given[self.channel] = channels
        part = np.asarray(self.source[tuple(given.get(axis, 0) for axis in self.axes)])
        left = [axis for axis in self.axes if axis in given]
        if "Z" in left:
            part = part.max(axis=left.index("Z"))
            left.remove("Z")
        if self.channel is None:
            part, left = part[None], ["", *left]
        order = [left.index(axis) for axis in (self.channel or "", "Y", "X")]
        # a copy in the machine's byte order: nothing of the file stays referenced
        return np.array(part.transpose(order), dtype=self.dtype, order="C")


class Stacked(LazyPixels):
    """Channels that lie in different places; several planes of a channel are projected by their maximum."""

    def __init__(self, channels: Sequence[Sequence[Any]]) -> None:
        self.channels = channels
        first = channels[0][0]
        self.shape = (len(channels), int(first.shape[1]), int(first.shape[2]))
        self.dtype = np.dtype(first.dtype)
        self.chunks = getattr(first, "chunks", None) if isinstance(first, LazyPixels) else None

    def _read(self, *wanted: range | IntArray) -> np.ndarray:
        channels, rows, columns = wanted
        ys, xs = _as_slice(rows), _as_slice(columns)
        result = np.empty((len(channels), len(rows), len(columns)), dtype=self.dtype)
        for found, channel in zip(result, channels, strict=True):
            planes = self.channels[int(channel)]
            found[:] = np.asarray(planes[0][0:1, ys, xs])[0]
            for plane in planes[1:]:
                np.maximum(found, np.asarray(plane[0:1, ys, xs])[0], out=found)
        return result


class Chosen(LazyPixels):
    """Some channels of lazy pixels, in the order wanted."""

    def __init__(self, pixels: LazyPixels, channels: Sequence[int]) -> None:
        self.pixels, self.index = pixels, np.asarray(channels, dtype=np.int64)
        self.shape, self.dtype, self.chunks = (len(channels), *pixels.shape[1:]), pixels.dtype, pixels.chunks

    def _read(self, *wanted: range | IntArray) -> np.ndarray:
        channels, rows, columns = wanted
        return self.pixels[self.index[np.asarray(channels)], _as_slice(rows), _as_slice(columns)]


class Plane(LazyPixels):
    """The single channel of lazy pixels as (Y, X)."""

    def __init__(self, pixels: LazyPixels) -> None:
        self.pixels, self.shape, self.dtype = pixels, pixels.shape[1:], pixels.dtype
        self.chunks = None if pixels.chunks is None else pixels.chunks[1:]

    def _read(self, *wanted: range | IntArray) -> np.ndarray:
        return self.pixels[0, _as_slice(wanted[0]), _as_slice(wanted[1])]


class Shifted(LazyPixels):
    """A label image (Y, X) on the grid of an image: moved by whole pixels, 0 where it has none."""

    def __init__(self, labels: Any, offset: tuple[int, int], shape: tuple[int, int]) -> None:
        self.labels, self.offset, self.shape, self.dtype = labels, offset, shape, np.dtype(labels.dtype)

    def _read(self, *wanted: range | IntArray) -> np.ndarray:
        spans = [_as_slice(one) for one in wanted]
        result = np.zeros([span.stop - span.start for span in spans], dtype=self.dtype)
        source, target = [], []
        for span, offset, length in zip(spans, self.offset, self.labels.shape, strict=True):
            start, stop = max(span.start - offset, 0), min(span.stop - offset, int(length))
            if start >= stop:
                return result
            source.append(slice(start, stop))
            target.append(slice(start + offset - span.start, stop + offset - span.start))
        result[tuple(target)] = np.asarray(self.labels[tuple(source)])
        return result


def _full_key(key: Any, n_axes: int) -> list[Any]:
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(one is Ellipsis for one in keys):
        at = next(i for i, one in enumerate(keys) if one is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (n_axes - len(keys) + 1)
    if len(keys) > n_axes:
        msg = f"too many indices: {len(keys)} for {n_axes} axes"
        raise IndexError(msg)
    return keys + [slice(None)] * (n_axes - len(keys))


def _positions(key: Any, length: int) -> range | IntArray:
    if isinstance(key, slice):
        return range(*key.indices(length))
    if isinstance(key, list | np.ndarray):
        positions = np.arange(length)[key]
        if len(positions) and (np.diff(positions) == 1).all():
            return range(int(positions[0]), int(positions[-1]) + 1)
        return positions
    position = index(key)
    if not -length <= position < length:
        msg = f"index {position} is out of range for {length} channels or rows"
        raise IndexError(msg)
    position %= length
    return range(position, position + 1)


def _as_slice(positions: range | IntArray) -> slice:
    if not isinstance(positions, range) or positions.step < 1:
        msg = "rows and columns of pixels on disk are read by slices that run forward"
        raise IndexError(msg)
    return slice(positions.start, positions.stop, positions.step)


def _is_plain(chunks: Any) -> TypeGuard[tuple[int, ...]]:
    return isinstance(chunks, tuple) and all(isinstance(n, int | np.integer) for n in chunks)
