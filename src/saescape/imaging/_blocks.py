"""Pixels around some observations of one field, and the observations as objects of a label image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ._crops import cut_windows, inside_image, scaled_crops

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import IntArray

    from ._regions import Regions
    from ._scaling import Scaling
    from ._tasks import Piece

# pixels of windows that are measured at once
_MEASURED_PIXELS = 2**22


@dataclass(frozen=True)
class Objects:
    """Objects of a label image 1..n in `pixels` (C, Y, X).

    `rows` are those of the result. `window`: the objects are whole windows of that size, stacked below each other.
    """

    rows: IntArray
    labels: np.ndarray
    pixels: np.ndarray
    window: tuple[int, int] | None = None


@dataclass(frozen=True)
class Block:
    """Pixels around observations of one field.

    `boxes` of the crops are relative to `pixels`; `labels` (None for windows) numbers the observations from 1, 0 is
    background or another observation; `compartments` have the numbers of their observations.
    """

    rows: IntArray
    pixels: np.ndarray
    boxes: IntArray
    labels: np.ndarray | None = None
    compartments: dict[str, np.ndarray] = field(default_factory=dict)

    def crops(self, scaling: Scaling | None, size: int, *, mask: bool) -> Iterator[tuple[IntArray, np.ndarray]]:
        """Scaled crops in pieces of up to `size`, with their rows."""
        numbers = np.arange(1, len(self.rows) + 1)
        for start in range(0, len(self.rows), size):
            part = slice(start, start + size)
            labels = self.labels if mask else None
            yield self.rows[part], scaled_crops(self.pixels, self.boxes[part], scaling, labels, numbers[part])

    def objects(self) -> Iterator[Objects]:
        """Observations as objects; windows are stacked, as they may overlap."""
        if self.labels is not None:
            yield Objects(self.rows, self.labels, self.pixels)
            return
        height, width = (self.boxes[0, 2:] - self.boxes[0, :2]).tolist()
        size = max(1, _MEASURED_PIXELS // (height * width))
        for start in range(0, len(self.rows), size):
            boxes = self.boxes[start : start + size]
            inside = inside_image(boxes, (self.pixels.shape[1], self.pixels.shape[2]))
            numbers = inside * np.arange(1, len(boxes) + 1, dtype=np.int32)[:, None, None]
            windows = cut_windows(self.pixels, boxes).transpose(1, 0, 2, 3)
            stacked = windows.reshape(len(windows), -1, width)
            yield Objects(
                self.rows[start : start + size], numbers.reshape(-1, width).astype(np.int32), stacked, (height, width)
            )

    def compartment(self, name: str) -> Objects:
        """Objects of a compartment; observations without it are left out."""
        labels = self.compartments[name]
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=len(self.rows) + 1)[1:])
        table = np.zeros(len(self.rows) + 1, dtype=np.int32)
        table[present + 1] = np.arange(1, len(present) + 1)
        return Objects(self.rows[present], table[labels], self.pixels)


def cut_block(image: Any, found: Regions, piece: Piece) -> Block:
    """Read the pixels of a piece from an image (C, Y, X), its labels and its compartments."""
    y0, x0, y1, x1 = piece.extent
    labels = None if found.labels is None else _renumber(found.labels.read(y0, y1, x0, x1), piece.members + 1)
    return Block(
        rows=piece.rows,
        pixels=np.asarray(image[:, y0:y1, x0:x1]),
        boxes=found.crop_boxes()[piece.members] - np.array([y0, x0, y0, x0]),
        labels=labels,
        compartments={
            name: _renumber(compartment.read(y0, y1, x0, x1), piece.members + 1)
            for name, compartment in found.compartments.items()
        },
    )


def _renumber(labels: np.ndarray, own: IntArray) -> np.ndarray:
    """Numbers 1..n in place of `own`, 0 in place of all others."""
    table = np.zeros(int(max(labels.max(initial=0), own.max(initial=0))) + 1, dtype=np.int32)
    table[own] = np.arange(1, len(own) + 1)
    return table[labels]
