"""Colour pictures of observations, from their pixels or from thumbnails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from saescape._keys import IMAGE_UNS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anndata import AnnData

    from saescape._typing import FloatArray, IntArray


class Pictures(NamedTuple):
    """`colors` (n, h, w, 3) uint8, `outlines` (n, h, w) boolean or None, `pixel_size` (n,) in micrometres or NaN."""

    colors: np.ndarray
    outlines: np.ndarray | None
    pixel_size: FloatArray


def draw_pictures(
    adata: AnnData,
    rows: IntArray,
    channels: list[int],
    *,
    channel_colors: FloatArray | None = None,
    crop_size: int | None = None,
    outline: bool = True,
    pixel_size: float | None = None,
    folder: str | Path | None = None,
) -> Pictures:
    """Cut the crops of some observations, or take their thumbnails, and blend the channels."""
    from saescape.get import crops
    from saescape.get._stored_thumbnails import instead_of_pixels
    from saescape.imaging._preview import composite, picture
    from saescape.imaging._recut import recut_masks
    from saescape.imaging._scaling import Scaling
    from saescape.imaging._thumbnails import own_pixels, split_thumbnails

    stored = adata.uns[IMAGE_UNS]
    names = [str(stored["channel_names"][i]) for i in channels]
    outline = outline and stored["params"]["unit"] == "label"
    sizes = _pixel_sizes(adata, rows) if pixel_size is None else np.full(len(rows), float(pixel_size))
    try:
        raw = crops(
            adata,
            list(adata.obs_names[rows]),
            crop_size=crop_size,
            mask_crops=False,
            normalized=False,
            folder=folder,
        )
    except (FileNotFoundError, ValueError) as error:
        if crop_size is not None:
            raise
        thumbnails = instead_of_pixels(adata, rows, error)
        scaled = split_thumbnails(thumbnails, mask=False)[:, channels]
        own = own_pixels(thumbnails) if outline else None
        zoom = _window(stored, adata, rows) / scaled.shape[-1]
        return Pictures(composite(scaled, names, channel_colors), own, sizes * zoom)
    bounds = np.asarray(stored["display_bounds"])[channels]
    colors = picture(raw[:, channels], names, Scaling(bounds[:, 0], bounds[:, 1]), raw.dtype, channel_colors)
    own = recut_masks(adata.obs.iloc[rows], stored, crop_size=crop_size, folder=folder) if outline else None
    return Pictures(colors, own, sizes)


def _window(stored: Mapping[str, Any], adata: AnnData, rows: IntArray) -> FloatArray:
    """Side in pixels of the square that each thumbnail shows."""
    params = stored["params"]
    if params["unit"] == "image":
        shapes = [stored["fields"][name]["shape"][1:] for name in adata.obs["region"].iloc[rows]]
        return np.array([max(shape) for shape in shapes], dtype=np.float64)
    return np.full(len(rows), float(params["tile_size"] if params["unit"] == "tile" else params["crop_size"]))


def _pixel_sizes(adata: AnnData, rows: IntArray) -> FloatArray:
    """Micrometres per pixel of the field of each observation, NaN where the file did not tell."""
    fields = adata.uns[IMAGE_UNS]["fields"]
    regions = adata.obs["region"].iloc[rows]
    return np.array([float(fields[name].get("pixel_size", np.nan)) for name in regions], dtype=np.float64)
