"""Cut windows out of a field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import IntArray

    from ._scaling import Scaling


def cut_windows(pixels: np.ndarray, boxes: IntArray) -> np.ndarray:
    """Windows (y0, x0, y1, x1) of one size from (..., Y, X); what lies outside is 0. Returns (n, ..., h, w)."""
    height, width = pixels.shape[-2:]
    size = (int(boxes[0, 2] - boxes[0, 0]), int(boxes[0, 3] - boxes[0, 1]))
    windows = np.zeros((len(boxes), *pixels.shape[:-2], *size), dtype=pixels.dtype)
    clipped = np.clip(boxes, 0, [height, width, height, width])
    for window, box, inside in zip(windows, boxes.tolist(), clipped.tolist(), strict=True):
        y0, x0, y1, x1 = inside
        window[..., y0 - box[0] : y1 - box[0], x0 - box[1] : x1 - box[1]] = pixels[..., y0:y1, x0:x1]
    return windows


def inside_image(boxes: IntArray, shape: tuple[int, int]) -> np.ndarray:
    """Which pixels of each window lie inside the image: (n, h, w) boolean."""
    height, width = int(boxes[0, 2] - boxes[0, 0]), int(boxes[0, 3] - boxes[0, 1])
    y, x = boxes[:, :1] + np.arange(height), boxes[:, 1:2] + np.arange(width)
    inside_y, inside_x = (y >= 0) & (y < shape[0]), (x >= 0) & (x < shape[1])
    return inside_y[:, :, None] & inside_x[:, None, :]


def scaled_crops(
    pixels: np.ndarray,
    boxes: IntArray,
    scaling: Scaling | None,
    labels: np.ndarray | None = None,
    ids: Any = None,
) -> np.ndarray:
    """Crops as an encoder sees them: float32 (n, C, h, w), scaled, 0 outside the image and outside the label.

    `labels` (Y, X) and `ids` (n,) blank everything that does not carry the observation's own label; None keeps it.
    """
    crops = cut_windows(pixels, boxes)
    crops = crops.astype(np.float32) if scaling is None else scaling(crops)
    if labels is not None:
        own = cut_windows(labels, boxes) == np.asarray(ids)[:, None, None]
        crops *= own[:, None]
    elif (boxes[:, :2] < 0).any() or (boxes[:, 2:] > pixels.shape[-2:]).any():
        # a pad of 0 need not be 0 any more once it is scaled
        crops *= inside_image(boxes, pixels.shape[-2:])[:, None]
    return crops
