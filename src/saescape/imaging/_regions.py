"""Which part of a field each observation is: labels, positions, tiles or the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._labels import LabelImage


@dataclass(frozen=True)
class Regions:
    """Observations of one field.

    `row`, `col` are the integer centre of the crop, `boxes` (y0, x0, y1, x1) the pixels that belong to the
    observation (bounding box of a label, the part of a window inside the image), `spatial` its x, y position.
    `was_binary`: the labels are connected components of a mask.
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

    def __len__(self) -> int:
        return len(self.ids)

    def crop_boxes(self) -> IntArray:
        """Pixels (y0, x0, y1, x1) of the crops; may reach over the image."""
        top, left = self.row - self.window[0] // 2, self.col - self.window[1] // 2
        return np.stack([top, left, top + self.window[0], left + self.window[1]], axis=1)


def label_regions(image: LabelImage, crop_size: int) -> Regions:
    """One observation per label; the crop is centred on the centre of the label's bounding box."""
    labels, n_labels = image.labels, len(image.ids)
    height, width = labels.shape
    found = ndimage.find_objects(labels, max_label=n_labels)
    boxes = np.array([(y.start, x.start, y.stop, x.stop) for y, x in found], dtype=np.int64).reshape(n_labels, 4)
    foreground = np.flatnonzero(labels)
    label_of = labels.ravel()[foreground]
    area = np.bincount(label_of, minlength=n_labels + 1)[1:]
    y, x = np.divmod(foreground, width)
    spatial = np.stack([np.bincount(label_of, axis, n_labels + 1)[1:] for axis in (x, y)], axis=1) / area[:, None]
    touches = (boxes[:, :2] == 0).any(1) | (boxes[:, 2] == height) | (boxes[:, 3] == width)
    row, col = (boxes[:, 0] + boxes[:, 2]) // 2, (boxes[:, 1] + boxes[:, 3]) // 2
    return Regions(image.ids, row, col, boxes, area, spatial, touches, (crop_size, crop_size), image.was_binary)


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


def tile_regions(shape: tuple[int, int], tile_size: int, stride: int, where: str) -> Regions:
    """One observation per complete tile, in row-major order."""
    if tile_size > min(shape):
        msg = f"`tile_size` ({tile_size}) must not be larger than the image; {where} is {shape} (Y, X)."
        raise ValueError(msg)
    top = np.arange(0, shape[0] - tile_size + 1, stride)
    left = np.arange(0, shape[1] - tile_size + 1, stride)
    row, col = (axis.ravel() + tile_size // 2 for axis in np.meshgrid(top, left, indexing="ij"))
    spatial = np.stack([col, row], axis=1) - tile_size // 2 + (tile_size - 1) / 2
    return _window_regions(row, col, shape, (tile_size, tile_size), spatial)


def image_region(shape: tuple[int, int]) -> Regions:
    """The whole field as one observation."""
    row, col = np.array([shape[0] // 2]), np.array([shape[1] // 2])
    spatial = (np.array([[shape[1], shape[0]]]) - 1) / 2
    return _window_regions(row, col, shape, shape, spatial)
