"""Pixels of the objects of a block, sorted by object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import FloatArray, IntArray

# pixels whose values are held in float64 at once (unless one object has more)
_GROUP_PIXELS = 2**17


@dataclass(frozen=True)
class SortedPixels:
    """Pixels of some objects in the order of the objects, and within one in that of the image.

    `starts` (n + 1,) says where each object begins; `index` is the position in the flat image, `rows` and `columns`
    that in the object's box, of which `sizes` (n, 2) has height and width. `location` (n, 3) is the centre in the box
    and the largest distance of a pixel from it (1 if that is 0).
    """

    starts: IntArray
    index: IntArray
    rows: np.ndarray
    columns: np.ndarray
    sizes: IntArray
    location: FloatArray

    @classmethod
    def of(cls, labels: np.ndarray, n_objects: int) -> tuple[SortedPixels, IntArray]:
        """Sort the pixels of labels 1..n of (Y, X); the second result tells which of them occur at all (0-based)."""
        from .kernels._objects import count_pixels, locate, sort_pixels

        labels = np.ascontiguousarray(labels, dtype=np.int32)
        counts, boxes = count_pixels(labels, n_objects)
        starts = np.concatenate([[0], np.cumsum(counts)])
        index, rows, columns = sort_pixels(labels, boxes, starts)
        present = np.flatnonzero(counts)
        starts = np.append(starts[present], starts[-1])
        location = np.empty((len(present), 3))
        locate(starts, rows, columns, location)
        return cls(starts, index, rows, columns, boxes[present, 2:] - boxes[present, :2], location), present

    def groups(self) -> Iterator[tuple[slice, SortedPixels]]:
        """Consecutive objects with up to `_GROUP_PIXELS` pixels together, and which they are."""
        first = 0
        while first < len(self.sizes):
            begin = self.starts[first]
            last = int(np.searchsorted(self.starts, begin + _GROUP_PIXELS, side="right")) - 1
            members = slice(first, max(last, first + 1))
            pixels = slice(begin, self.starts[members.stop])
            yield (
                members,
                SortedPixels(
                    self.starts[members.start : members.stop + 1] - begin,
                    self.index[pixels],
                    self.rows[pixels],
                    self.columns[pixels],
                    self.sizes[members],
                    self.location[members],
                ),
            )
            first = members.stop
