"""Check a label image in strips, and read parts of it with consecutive labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _label_runs as runs
from ._strips import iterate_strips, strip_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from saescape._typing import BoolArray, IntArray


# a label image with no other value is a binary mask, unless it is of one piece
MASK_VALUES = (1, 255)


class LabelSource:
    """Where labels are read from: an array of any kind, or a function that opens one.

    What a function opened is held until :meth:`close`, and never pickled.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._opened = None if callable(source) else source

    def array(self) -> Any:
        """The (Y, X) array; slices of it are read."""
        if self._opened is None:
            self._opened = self._source()
        return self._opened

    def close(self) -> None:
        """Forget what can be opened again."""
        if callable(self._source):
            self._opened = None

    def components(self) -> LabelSource:
        """Connected components in place of the labels; held in memory only when they come from there."""
        found = LabelSource(partial(_components, self))
        return LabelSource(found.array()) if isinstance(self._source, np.ndarray) else found

    def __getstate__(self) -> dict[str, Any]:
        return {"_source": self._source, "_opened": None if callable(self._source) else self._source}


def _components(source: LabelSource) -> np.ndarray:
    from skimage.measure import label

    array = source.array()
    mask = np.asarray(array[0 : array.shape[0], 0 : array.shape[1]]) != 0
    source.close()
    return label(mask).astype(np.int32, copy=False)


@dataclass(frozen=True, eq=False)
class LabelImage:
    """Labels of a field, read in parts as 1..n.

    `ids` are the labels as they were given, `area` their pixels, `boxes` (y0, x0, y1, x1) and `centroids` (x, y) where
    they lie, `euler` the number of their pieces less that of their holes. `was_binary`: they are the connected
    components of a mask. `numbered`: they are 1..n already.
    """

    source: LabelSource
    shape: tuple[int, int]
    ids: IntArray
    area: IntArray
    boxes: IntArray
    centroids: np.ndarray
    euler: IntArray
    was_binary: bool = False
    numbered: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Labels 1..n (int32) of a part of the field, 0 elsewhere; may be a view of the user's array."""
        part = _integers(np.asarray(self.source.array()[y0:y1, x0:x1]))
        if self.numbered:
            return part.astype(np.int32, copy=False)
        return runs.renumber(np.ascontiguousarray(part), self.ids)

    def select(self, keep: BoolArray) -> LabelImage:
        """Some of the labels; the others become background."""
        if keep.all():
            return self
        parts = {name: getattr(self, name)[keep] for name in ("ids", "area", "boxes", "centroids", "euler")}
        return replace(self, **parts, numbered=False)

    def close(self) -> None:
        """Free what was read from a file; reading goes on to be possible."""
        self.source.close()


class LabelTable:
    """Area, box, sums of coordinates and pieces of each label, gathered strip by strip from top to bottom."""

    def __init__(self) -> None:
        self._slots, self._table = runs.empty_table()
        self._above: np.ndarray | None = None
        self.n_found = 0
        self.n_negative = 0

    def add(self, strip: np.ndarray, first_row: int) -> None:
        """Add a (h, X) strip of integers."""
        strip = np.ascontiguousarray(_integers(strip))
        above = np.zeros_like(strip[0]) if self._above is None else self._above
        self._slots, self._table, self.n_found, n_negative = runs.add_strip(
            strip, above, first_row, self._slots, self._table, self.n_found
        )
        self._above = strip[-1].copy()
        self.n_negative += n_negative

    def rows(self) -> np.ndarray:
        """(n, columns) table in increasing order of the labels; its columns are named in `_label_runs`."""
        table = self._table[: self.n_found]
        return table[np.argsort(table[:, runs.LABEL])]


def check_labels(
    labels: np.ndarray | Any | Callable[[], Any], shape: tuple[int, int], where: str, *, rows: int | None = None
) -> LabelImage:
    """Check a label image against the image it belongs to; a binary mask is split into connected components.

    Parameters
    ----------
    labels
        (Y, X) array, also a lazy one, of which one strip is held at a time; or a function that opens it.
    shape
        (Y, X) of the image.
    where
        Name of the argument for messages.
    rows
        Rows of a strip; None for as many as fit into 32 MiB.

    Raises
    ------
    TypeError
        Labels that are not integers.
    ValueError
        Another shape than the image, or negative labels.
    """
    source = LabelSource(labels)
    array = source.array()
    shape = (int(shape[0]), int(shape[1]))
    _check_shape(tuple(int(n) for n in array.shape), shape, where)
    _check_dtype(array, where)
    image = _scan(source, shape, where, rows)
    if len(image) == 1 and int(image.ids[0]) in MASK_VALUES:
        components = _scan(source.components(), shape, where, rows)
        if len(components) > 1:
            return replace(components, was_binary=True)
    return image


def _scan(source: LabelSource, shape: tuple[int, int], where: str, rows: int | None) -> LabelImage:
    array = source.array()
    table = LabelTable()
    for start, strip in iterate_strips(array, rows or strip_rows(array)):
        if strip.dtype == np.uint64 and strip.size and strip.max() > np.iinfo(np.int64).max:
            msg = f"{where} has labels above {np.iinfo(np.int64).max}; number them anew."
            raise ValueError(msg)
        table.add(strip, start)
    if table.n_negative:
        msg = f"{where} has {table.n_negative} negative labels; background must be 0 and labels positive."
        raise ValueError(msg)
    found = table.rows()
    ids = found[:, runs.LABEL].copy()
    area = found[:, runs.AREA].copy()
    boxes = found[:, [runs.TOP, runs.LEFT, runs.BOTTOM, runs.RIGHT]]
    centroids = found[:, [runs.SUM_X, runs.SUM_Y]] / area[:, None]
    euler = found[:, runs.EULER].copy()
    numbered = len(ids) == 0 or int(ids[-1]) == len(ids)
    return LabelImage(source, shape, ids, area, boxes, centroids, euler, numbered=numbered)


def _integers(labels: np.ndarray) -> np.ndarray:
    """The same values as int32 or int64, so that few versions of the passes are compiled."""
    if labels.dtype in (np.int32, np.int64):
        return labels
    return labels.astype(np.int64 if labels.dtype.itemsize >= 4 else np.int32)


def _check_shape(found: tuple[int, ...], shape: tuple[int, int], where: str) -> None:
    if found == shape:
        return
    msg = f"{where} has shape {found}, but its image is {shape} (Y, X); they must be equal."
    if found == shape[::-1]:
        msg += " They would be after transposing the labels (`labels.T`)."
    elif len(found) == 2 and min(found) > 0 and shape[0] % found[0] == 0 and shape[0] * found[1] == shape[1] * found[0]:
        factor = shape[0] // found[0]
        msg += f" The labels have a {factor} times lower resolution: use that of the image, or `np.repeat` them."
    raise ValueError(msg)


def _check_dtype(labels: Any, where: str) -> None:
    dtype = np.dtype(labels.dtype)
    if dtype.kind in "iub":
        return
    msg = f"{where} must hold integers, found dtype {dtype}"
    if dtype.kind == "f":
        strips = iterate_strips(labels, strip_rows(labels))
        whole = all(np.isfinite(strip).all() and not (strip % 1).any() for _, strip in strips)
        msg += f"{'' if whole else ' (is it a probability map?)'}; cast it with `labels.astype(int)`"
    msg += "."
    raise TypeError(msg)
