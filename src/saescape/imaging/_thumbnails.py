"""Small pictures of observations, for when their pixels are out of reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._crops import cut_windows, inside_image
from ._windows import parts

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

    from ._fields import Field
    from ._regions import Regions
    from ._scaling import Scaling

# larger windows are read and made smaller in strips
_MAX_PIXELS = 2**22
# windows that are made smaller at once
_BATCH = 512


def make_thumbnails(fields: list[Field], regions: list[Regions], bounds: Scaling, side: int) -> np.ndarray:
    """(n, C + 1, side, side) uint8: channels between their bounds, and the observation's own label or the image.

    The window of each observation, padded to a square, is averaged over areas.
    """
    n_channels = len(bounds.low)
    made = np.empty((sum(len(found) for found in regions), n_channels + 1, side, side), dtype=np.uint8)
    start = 0
    for field, found in zip(fields, regions, strict=True):
        if len(found):
            pixels = field.open().pixels
            made[start : start + len(found)] = _of_field(pixels, found, bounds, side)
            found.close()
        start += len(found)
    return made


def split_thumbnails(thumbnails: np.ndarray, *, mask: bool) -> np.ndarray:
    """(n, C, side, side) float32 in [0, 1]; with `mask`, 0 where most of the area is not the observation's own."""
    crops = thumbnails[:, :-1].astype(np.float32) / 255
    return crops * own_pixels(thumbnails)[:, None] if mask else crops


def own_pixels(thumbnails: np.ndarray) -> np.ndarray:
    """(n, side, side) boolean: mostly the observation's own label, or inside of the image."""
    return thumbnails[:, -1] >= 128


def area_weights(length: int, side: int) -> FloatArray:
    """(side, length) weights that average `length` pixels over `side` stretches of equal length; rows sum to 1."""
    ends = np.linspace(0, length, side + 1)
    pixel = np.arange(length)
    overlap = np.minimum(ends[1:, None], pixel + 1) - np.maximum(ends[:-1, None], pixel)
    return (np.clip(overlap, 0, None) * (side / length)).astype(np.float32)


def _of_field(pixels: Any, found: Regions, bounds: Scaling, side: int) -> np.ndarray:
    boxes = _squares(found.crop_boxes())
    length = int(boxes[0, 2] - boxes[0, 0])
    weights = area_weights(length, side)
    shape = (int(pixels.shape[1]), int(pixels.shape[2]))
    small = np.zeros((len(boxes), len(bounds.low) + 1, side, side), dtype=np.float32)
    # rows of a window that are done at once: all of them, but for very large ones
    step = min(length, max(1, _MAX_PIXELS // length))
    for top in range(0, length, step):
        strips = boxes.copy()
        strips[:, 0] += top
        strips[:, 2] = np.minimum(strips[:, 0] + step, boxes[:, 2])
        for part in parts(strips, shape, whole=isinstance(pixels, np.ndarray) and found.labels is None):
            read = part.of(pixels)
            labels = None if found.labels is None else found.labels.read(*np.array(part.box)[[0, 2, 1, 3]].tolist())
            for batch in range(0, len(part.rows), _BATCH):
                some = slice(batch, batch + _BATCH)
                planes = _planes(read, labels, part.boxes[some], part.rows[some] + 1, bounds)
                rows = weights[:, top : top + planes.shape[2]]
                small[part.rows[some]] += np.matmul(np.matmul(rows, planes), weights.T)
    return (small * 255).round().astype(np.uint8)


def _planes(
    pixels: np.ndarray, labels: np.ndarray | None, boxes: IntArray, own: IntArray, bounds: Scaling
) -> np.ndarray:
    """(n, C + 1, h, w) float32 in [0, 1]."""
    inside = inside_image(boxes, (pixels.shape[1], pixels.shape[2]))
    crops = bounds(cut_windows(pixels, boxes)) * inside[:, None]
    mask = inside if labels is None else cut_windows(labels, boxes) == own[:, None, None]
    return np.concatenate([crops, mask[:, None].astype(np.float32)], axis=1)


def _squares(boxes: IntArray) -> IntArray:
    """Windows widened around their middle to squares."""
    height, width = (boxes[0, 2:] - boxes[0, :2]).tolist()
    grow = np.array([max(width - height, 0), max(height - width, 0)])
    before = grow // 2
    return np.concatenate([boxes[:, :2] - before, boxes[:, 2:] + grow - before], axis=1)
