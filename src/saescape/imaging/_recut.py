"""Cut the crops of an AnnData again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._crops import cut_windows, inside_image, scaled_crops
from ._scaling import Scaling
from ._store import stored_labels, stored_pixels

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
        pixels = np.asarray(stored_pixels(entry, str(name), folder))
        labels = stored_labels(entry, str(name), folder) if mask else None
        if normalized:
            part = scaled_crops(pixels, boxes[members], scaling, labels, ids[members])
        else:
            part = cut_windows(pixels, boxes[members])
            if labels is not None:
                part *= (cut_windows(labels, boxes[members]) == ids[members, None, None])[:, None]
        if crops is None:
            crops = np.zeros((len(obs), *part.shape[1:]), dtype=part.dtype)
        crops[members] = part
    if crops is None:
        msg = "no observations to cut crops of."
        raise ValueError(msg)
    return crops


def recut_masks(
    obs: pd.DataFrame, stored: Mapping[str, Any], *, crop_size: int | None, folder: str | Path | None
) -> np.ndarray:
    """(n, h, w) boolean: pixels of the crop that carry the observation's own label, or lie inside the image."""
    boxes = crop_boxes(obs, stored, crop_size)
    ids = obs["instance_id"].to_numpy()
    masks = np.zeros((len(obs), *(boxes[0, 2:] - boxes[0, :2])), dtype=bool)
    for name, members in obs.groupby("region", observed=True).indices.items():
        entry = stored["fields"][name]
        if stored["params"]["unit"] == "label":
            labels = stored_labels(entry, str(name), folder)
            masks[members] = cut_windows(labels, boxes[members]) == ids[members, None, None]
        else:
            shape = tuple(int(n) for n in entry["shape"])
            masks[members] = inside_image(boxes[members], (shape[1], shape[2]))
    return masks
