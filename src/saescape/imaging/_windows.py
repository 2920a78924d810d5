"""Read windows of a field without reading the field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from saescape._typing import IntArray

# windows whose centres lie in one square of this side are read together
_NEIGHBOURHOOD = 1024


class Part(NamedTuple):
    """Some windows, and the box (y0, x0, y1, x1) of the field that holds all of them that lies inside the field."""

    rows: IntArray
    box: tuple[int, int, int, int]
    boxes: IntArray

    def of(self, image: Any) -> np.ndarray:
        """Cut the box out of an image (Y, X) or (C, Y, X)."""
        y0, x0, y1, x1 = self.box
        window = (slice(y0, y1), slice(x0, x1))
        return np.asarray(image[window if len(image.shape) == 2 else (slice(None), *window)])


def parts(boxes: IntArray, shape: tuple[int, int], *, whole: bool) -> Iterator[Part]:
    """Group windows (y0, x0, y1, x1) of one size so that each group can be read at once.

    `whole` puts all of them together with the whole field: right for arrays in memory, of which slices cost nothing.
    The `boxes` of a part are relative to its own box.
    """
    if whole:
        yield Part(np.arange(len(boxes)), (0, 0, *shape), boxes)
        return
    square = (boxes[:, :2] + boxes[:, 2:]) // (2 * _NEIGHBOURHOOD)
    _, group = np.unique(square, axis=0, return_inverse=True)
    inside = np.clip(boxes, 0, [*shape, *shape])
    for number in range(int(group.max(initial=-1)) + 1):
        rows = np.flatnonzero(group.ravel() == number)
        y0, x0 = (int(n) for n in inside[rows, :2].min(0))
        y1, x1 = (int(n) for n in inside[rows, 2:].max(0))
        yield Part(rows, (y0, x0, y1, x1), boxes[rows] - np.array([y0, x0, y0, x0]))


def label_reader(labels: Any, ids: IntArray) -> tuple[Callable[[Part], np.ndarray], IntArray]:
    """How a part of a label image is read, and what stands in it for each id.

    `labels` is a (Y, X) array, in memory or lazy, with the ids themselves, or a `LabelImage`, which is numbered from 1.
    """
    if not hasattr(labels, "read"):
        return lambda part: part.of(labels), ids
    position = np.searchsorted(labels.ids, ids)
    known = position < len(labels.ids)
    known[known] = np.asarray(labels.ids)[position[known]] == ids[known]

    def read(part: Part) -> np.ndarray:
        y0, x0, y1, x1 = part.box
        return np.asarray(labels.read(y0, y1, x0, x1))

    # -1 is no label: what is not there any more has no pixels
    return read, np.where(known, position + 1, -1)
