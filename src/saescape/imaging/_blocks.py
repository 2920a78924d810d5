"""Work on fields block by block: every observation belongs to the block that its centre lies in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._crops import cut_windows, inside_image, scaled_crops
from ._intensity import ObjectPixels
from ._qc import laplacian

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from saescape._typing import IntArray

    from ._fields import Field
    from ._regions import Regions
    from ._scaling import Scaling

DEFAULT_BLOCK = 2048
# pixels of windows that are measured at once
_MEASURED_PIXELS = 2**22


@dataclass(frozen=True)
class Block:
    """Pixels around some observations of one field.

    `rows` are positions in the result, `boxes` and `crop_boxes` are relative to `pixels`; `labels` (None for
    windows) numbers the labels of the field from 1, `own` are those of the observations.
    """

    rows: IntArray
    pixels: np.ndarray
    boxes: IntArray
    crop_boxes: IntArray
    labels: np.ndarray | None
    own: IntArray

    def crops(self, scaling: Scaling | None, size: int, *, mask: bool) -> Iterator[tuple[IntArray, np.ndarray]]:
        """Scaled crops in pieces of up to `size`, with their rows."""
        for start in range(0, len(self.rows), size):
            part = slice(start, start + size)
            labels = self.labels if mask else None
            yield self.rows[part], scaled_crops(self.pixels, self.crop_boxes[part], scaling, labels, self.own[part])

    def objects(self, *, sharpness: bool) -> Iterator[Objects]:
        """Observations as objects of a label image; windows are stacked below each other, as they may overlap."""
        if self.labels is not None:
            renumber = np.zeros(int(self.labels.max()) + 1, dtype=np.int32)
            renumber[self.own] = np.arange(1, len(self.own) + 1)
            channels = laplacian(self.pixels) if sharpness else None
            yield Objects.measure(self.rows, renumber[self.labels], self.pixels, channels)
            return
        laplace = np.stack(list(laplacian(self.pixels))) if sharpness else None
        height, width = (self.crop_boxes[0, 2:] - self.crop_boxes[0, :2]).tolist()
        size = max(1, _MEASURED_PIXELS // (height * width))
        for start in range(0, len(self.rows), size):
            boxes = self.crop_boxes[start : start + size]
            inside = inside_image(boxes, (self.pixels.shape[1], self.pixels.shape[2]))
            numbers = inside * np.arange(1, len(boxes) + 1, dtype=np.int32)[:, None, None]
            yield Objects.measure(
                self.rows[start : start + size],
                numbers.reshape(-1, width),
                _stack(self.pixels, boxes),
                None if laplace is None else _stack(laplace, boxes),
            )


@dataclass(frozen=True)
class Objects:
    """Objects of a label image 1..n with the values of their pixels."""

    rows: IntArray
    labels: np.ndarray
    pixels: ObjectPixels
    values: np.ndarray
    sharpness: np.ndarray | None

    @classmethod
    def measure(
        cls, rows: IntArray, labels: np.ndarray, image: np.ndarray, laplace: Iterable[np.ndarray] | None
    ) -> Objects:
        """Gather the pixels of the objects of (C, Y, X) images."""
        pixels = ObjectPixels(labels, len(rows))
        # channel by channel, so that only one whole Laplacian exists at a time
        values, sharpness = (
            None if channels is None else np.stack([channel.reshape(-1)[pixels.index] for channel in channels])
            for channels in (image, laplace)
        )
        return cls(rows, labels, pixels, values, sharpness)  # type: ignore[arg-type]


def _stack(image: np.ndarray, boxes: IntArray) -> np.ndarray:
    windows = cut_windows(image, boxes)
    return windows.transpose(1, 0, 2, 3).reshape(image.shape[0], -1, windows.shape[-1])


def iterate_blocks(fields: list[Field], regions: list[Regions], block: int, *, need_crops: bool) -> Iterator[Block]:
    """Blocks of all fields in order. Memory is that of a block, and of its largest object or crop around it."""
    first_row = 0
    for field, observations in zip(fields, regions, strict=True):
        if len(observations) == 0:
            continue
        image = field.open().pixels
        shape = (int(image.shape[1]), int(image.shape[2]))
        labels = None if field.labels is None else field.open_labels(shape).labels
        crop_boxes = observations.crop_boxes()
        per_row = -(-shape[1] // block)
        owner = observations.row // block * per_row + observations.col // block
        for one in np.unique(owner):
            members = np.flatnonzero(owner == one)
            boxes, crops = observations.boxes[members], crop_boxes[members]
            extents = np.concatenate([boxes, crops]) if need_crops or labels is None else boxes
            # one pixel more on each side, so that derivatives do not depend on the block
            y0, x0 = np.maximum(extents[:, :2].min(0) - 1, 0).tolist()
            y1, x1 = np.minimum(extents[:, 2:].max(0) + 1, shape).tolist()
            origin = np.array([y0, x0, y0, x0])
            yield Block(
                rows=first_row + members,
                pixels=np.asarray(image[:, y0:y1, x0:x1]),
                boxes=boxes - origin,
                crop_boxes=crops - origin,
                labels=None if labels is None else labels[y0:y1, x0:x1],
                own=members + 1,
            )
        first_row += len(observations)


def count_blocks(regions: list[Regions], block: int) -> int:
    """Number of blocks that :func:`iterate_blocks` gives."""
    return sum(len({*zip((r.row // block).tolist(), (r.col // block).tolist(), strict=True)}) for r in regions)
