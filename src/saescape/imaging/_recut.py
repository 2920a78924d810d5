"""Cut the crops of an AnnData again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._crops import cut_windows, inside_image, scaled_crops
from ._scaling import Scaling
from ._store import stored_labels, stored_pixels
from ._windows import label_reader, parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from saescape._typing import IntArray


def crop_boxes(obs: pd.DataFrame, stored: Mapping[str, Any], crop_size: int | None) -> IntArray:
    """Windows (y0, x0, y1, x1) of observations, as at creation or with another side."""
    if crop_size is not None:
        height = width = np.full(len(obs), crop_size)
    else:
        height, width = _created_size(obs, stored)
    top, left = obs["row"].to_numpy() - height // 2, obs["col"].to_numpy() - width // 2
    return np.stack([top, left, top + height, left + width], axis=1)


def _created_size(obs: pd.DataFrame, stored: Mapping[str, Any]) -> tuple[IntArray, IntArray]:
    params = stored["params"]
    if params["unit"] == "image":
        shapes = np.array([stored["fields"][name]["shape"] for name in obs["region"]]).reshape(-1, 3)
        if len(np.unique(shapes, axis=0)) > 1:
            msg = "the images have different shapes; give `crop_size`, or images of one shape."
            raise ValueError(msg)
        return shapes[:, 1], shapes[:, 2]
    side = params["tile_size"] if params["unit"] == "tile" else params["crop_size"]
    sides = np.full(len(obs), int(side))
    return sides, sides


def recut(
    obs: pd.DataFrame,
    stored: Mapping[str, Any],
    *,
    crop_size: int | None,
    mask: bool,
    normalized: bool,
    folder: str | Path | None,
) -> np.ndarray:
    """(n, C, h, w) crops of the rows of `obs`: float32 as the encoder saw them, or raw pixels."""
    boxes = crop_boxes(obs, stored, crop_size)
    bounds = stored.get("bounds")
    scaling = Scaling(np.asarray(bounds[:, 0]), np.asarray(bounds[:, 1])) if normalized and bounds is not None else None
    ids = obs["instance_id"].to_numpy()
    crops: np.ndarray | None = None
    for name, members in obs.groupby("region", observed=True).indices.items():
        entry = stored["fields"][name]
        pixels = stored_pixels(entry, str(name), folder)
        labels = stored_labels(entry, str(name), folder) if mask else None
        read, own = (None, ids[members]) if labels is None else label_reader(labels, ids[members])
        in_memory = isinstance(pixels, np.ndarray) and (labels is None or isinstance(labels, np.ndarray))
        for part in parts(boxes[members], tuple(pixels.shape[1:]), whole=in_memory):
            cut = _cut(part.of(pixels), part.boxes, scaling, read and read(part), own[part.rows], normalized=normalized)
            if crops is None:
                crops = np.zeros((len(obs), *cut.shape[1:]), dtype=cut.dtype)
            crops[members[part.rows]] = cut
    if crops is None:
        msg = "no observations to cut crops of."
        raise ValueError(msg)
    return crops


def _cut(
    pixels: np.ndarray,
    boxes: IntArray,
    scaling: Scaling | None,
    labels: np.ndarray | None,
    own: IntArray,
    *,
    normalized: bool,
) -> np.ndarray:
    if normalized:
        return scaled_crops(pixels, boxes, scaling, labels, own)
    windows = cut_windows(pixels, boxes)
    if labels is not None:
        windows *= (cut_windows(labels, boxes) == own[:, None, None])[:, None]
    return windows


def recut_masks(
    obs: pd.DataFrame, stored: Mapping[str, Any], *, crop_size: int | None, folder: str | Path | None
) -> np.ndarray:
    """(n, h, w) boolean: pixels of the crop that carry the observation's own label, or lie inside the image."""
    boxes = crop_boxes(obs, stored, crop_size)
    ids = obs["instance_id"].to_numpy()
    masks = np.zeros((len(obs), *(boxes[0, 2:] - boxes[0, :2])), dtype=bool)
    for name, members in obs.groupby("region", observed=True).indices.items():
        entry = stored["fields"][name]
        height, width = (int(n) for n in np.asarray(entry["shape"])[1:])
        if stored["params"]["unit"] != "label":
            masks[members] = inside_image(boxes[members], (height, width))
            continue
        labels = stored_labels(entry, str(name), folder)
        read, own = label_reader(labels, ids[members])
        for part in parts(boxes[members], (height, width), whole=isinstance(labels, np.ndarray)):
            masks[members[part.rows]] = cut_windows(read(part), part.boxes) == own[part.rows, None, None]
    return masks
