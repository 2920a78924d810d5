"""Which part of a field each observation is: labels, positions, tiles or the whole image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._compartments import Compartment, Remainder
    from ._labels import LabelImage


@dataclass(frozen=True)
class Regions:
    """Observations of one field.

    `row`, `col` are the integer centre of the crop, `boxes` (y0, x0, y1, x1) the pixels that belong to the
    observation (bounding box of a label, the part of a window inside the image), `spatial` its x, y position.
    `was_binary`: the labels are connected components of a mask. `labels` are the labels they come from, numbered like
    the observations; `compartments` are parts of the same labels. `n_removed`: labels that were too small or too large.
    """

    ids: IntArray
    row: IntArray
    col: IntArray
    boxes: IntArray
    area: IntArray
    spatial: FloatArray
    touches_border: BoolArray
    window: tuple[int, int]
    was_binary: bool = False
    labels: LabelImage | None = None
    compartments: dict[str, Compartment | Remainder] = field(default_factory=dict)
    n_removed: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def close(self) -> None:
        """Free labels that were read from files; they are read again when they are needed."""
        for labels in (self.labels, *self.compartments.values()):
            if labels is not None:
                labels.close()

    def crop_boxes(self) -> IntArray:
        """Pixels (y0, x0, y1, x1) of the crops; may reach over the image."""
        top, left = self.row - self.window[0] // 2, self.col - self.window[1] // 2
        return np.stack([top, left, top + self.window[0], left + self.window[1]], axis=1)


def label_regions(
    image: LabelImage, crop_size: int, *, min_area: float | None = None, max_area: float | None = None
) -> Regions:
    """One observation per label; the crop is centred on the centre of the label's bounding box.

    Labels of less than `min_area` or more than `max_area` pixels become background.
    """
    keep = np.ones(len(image), dtype=bool)
    if min_area is not None:
        keep &= image.area >= min_area
    if max_area is not None:
        keep &= image.area <= max_area
    image = image.select(keep)
    boxes = image.boxes
    touches = (boxes[:, :2] == 0).any(1) | (boxes[:, 2:] == image.shape).any(1)
    row, col = (boxes[:, 0] + boxes[:, 2]) // 2, (boxes[:, 1] + boxes[:, 3]) // 2
    return Regions(
        ids=image.ids,
        row=row,
        col=col,
        boxes=boxes,
        area=image.area,
        spatial=image.centroids,
        touches_border=touches,
        window=(crop_size, crop_size),
        was_binary=image.was_binary,
        labels=image,
        n_removed=int((~keep).sum()),
    )


def _window_regions(
    row: IntArray, col: IntArray, shape: tuple[int, int], window: tuple[int, int], spatial: FloatArray
) -> Regions:
    top, left = row - window[0] // 2, col - window[1] // 2
    full = np.stack([top, left, top + window[0], left + window[1]], axis=1)
    boxes = np.clip(full, 0, [*shape, *shape])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return Regions(np.arange(len(row)), row, col, boxes, area, spatial, (full != boxes).any(1), window)


def check_centers(centers: Any, where: str) -> FloatArray:
    """Positions as a float (n, 2) array of x, y."""
    centers = np.asarray(centers)
    if centers.ndim != 2 or centers.shape[1] != 2 or centers.dtype.kind not in "fiu":
        msg = f"{where} must be a numeric (n, 2) array of x, y in pixels, found {centers.dtype} {centers.shape}."
        raise ValueError(msg)
    centers = centers.astype(np.float64)
    if not np.isfinite(centers).all():
        msg = f"{where} has {int((~np.isfinite(centers)).any(1).sum())} positions that are not finite."
        raise ValueError(msg)
    return centers


def center_regions(centers: FloatArray, shape: tuple[int, int], crop_size: int, where: str) -> Regions:
    """One observation per position."""
    # an integer coordinate is the middle of a pixel, as in skimage
    col, row = (np.floor(centers + 0.5).astype(np.int64)).T
    outside = (row < 0) | (col < 0) | (row >= shape[0]) | (col >= shape[1])
    if outside.any():
        first = int(np.argmax(outside))
        msg = (
            f"{where}: {int(outside.sum())} of {len(centers)} positions lie outside the image of {shape} (Y, X), the "
            f"first is number {first} at x, y = {tuple(centers[first].tolist())}; give x, y in pixels of this image."
        )
        raise ValueError(msg)
    return _window_regions(row, col, shape, (crop_size, crop_size), centers)


def tile_regions(
    shape: tuple[int, int], tile_size: int, stride: int, where: str, *, edge: Literal["drop", "pad"] = "drop"
) -> Regions:
    """One observation per tile, in row-major order; tiles that reach over the image are dropped or kept.

    With `"pad"` tiles are laid until they cover the image; `area` and `spatial` are those of the part inside.
    """
    if edge == "drop" and tile_size > min(shape):
        msg = (
            f"`tile_size` ({tile_size}) must not be larger than the image; {where} is {shape} (Y, X). "
            '`edge="pad"` keeps incomplete tiles.'
        )
        raise ValueError(msg)
    top, left = (_tile_starts(length, tile_size, stride, edge) for length in shape)
    row, col = (axis.ravel() + tile_size // 2 for axis in np.meshgrid(top, left, indexing="ij"))
    found = _window_regions(row, col, shape, (tile_size, tile_size), np.empty((len(row), 2)))
    y, x = ((found.boxes[:, axis] + found.boxes[:, axis + 2] - 1) / 2 for axis in (0, 1))
    return replace(found, spatial=np.stack([x, y], axis=1))


def _tile_starts(length: int, tile_size: int, stride: int, edge: str) -> IntArray:
    if edge == "drop":
        return np.arange(0, length - tile_size + 1, stride)
    # the first tile that reaches the end is the last one
    last = max(-(-(length - tile_size) // stride), 0)
    starts = np.arange(last + 1) * stride
    return starts[starts < length]


def image_region(shape: tuple[int, int]) -> Regions:
    """The whole field as one observation."""
    row, col = np.array([shape[0] // 2]), np.array([shape[1] // 2])
    spatial = (np.array([[shape[1], shape[0]]]) - 1) / 2
    return _window_regions(row, col, shape, shape, spatial)
