"""First pass over all fields: check everything, find the observations, summarise the intensities."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._preview import shrink
from ._regions import center_regions, image_region, label_regions, tile_regions
from ._scaling import ChannelSummary

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._fields import Field
    from ._read import OpenedImage
    from ._regions import Regions

MAX_PREVIEW_SIDE = 1000
MIN_PREVIEW_SIDE = 64
# previews of all fields together
_PREVIEW_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Scan:
    """What the first pass found."""

    channel_names: list[str]
    shapes: list[tuple[int, int, int]]
    dtype: np.dtype
    regions: list[Regions]
    summary: ChannelSummary
    previews: list[np.ndarray]
    preview_factors: list[int]


def scan_fields(
    fields: list[Field],
    channel_names: list[str] | None,
    find: Callable[[Field, tuple[int, int]], Regions],
    *,
    block: int,
    rng: np.random.Generator,
) -> Scan:
    """Open every field once; `find` gives the observations of a field of that (Y, X)."""
    names, summary = None, None
    shapes, regions, previews, factors = [], [], [], []
    first_dtype = None
    side = int(np.sqrt(_PREVIEW_BYTES / 3 / len(fields)))
    side = min(max(side, MIN_PREVIEW_SIDE), MAX_PREVIEW_SIDE)
    for field in fields:
        opened = field.open()
        pixels, dtype = opened.pixels, np.dtype(opened.pixels.dtype)
        shape = (int(pixels.shape[0]), int(pixels.shape[1]), int(pixels.shape[2]))
        if summary is None or names is None:
            names, first_dtype = _channel_names(opened, channel_names), dtype
            summary = ChannelSummary(shape[0], dtype, len(fields))
        _check_same_kind(field, shape, dtype, len(names), first_dtype)
        regions.append(find(field, shape[1:]))
        summary.add(pixels, block, rng, field.description)
        factor = max(1, -(-max(shape[1:]) // side))
        previews.append(shrink(pixels, min(factor, *shape[1:])))
        factors.append(min(factor, *shape[1:]))
        shapes.append(shape)
    if summary is None or names is None or first_dtype is None:
        msg = "`image` is empty: give at least one image."
        raise ValueError(msg)
    _check_not_empty(fields, regions)
    _warn_binary(regions)
    return Scan(names, shapes, first_dtype, regions, summary, previews, factors)


def region_finder(
    unit: str, *, crop_size: int, tile_size: int | None, stride: int | None
) -> Callable[[Field, tuple[int, int]], Regions]:
    """How the observations of a field are found, for one of the units "label", "center", "tile", "image"."""

    def find(field: Field, shape: tuple[int, int]) -> Regions:
        if unit == "label":
            return label_regions(field.open_labels(shape), crop_size)
        if unit == "center" and field.centers is not None:
            return center_regions(field.centers, shape, crop_size, field.description.replace("image", "centers", 1))
        if unit == "tile" and tile_size is not None:
            return tile_regions(shape, tile_size, stride or tile_size, field.description)
        return image_region(shape)

    return find


def _channel_names(opened: OpenedImage, given: list[str] | None) -> list[str]:
    n_channels = int(opened.pixels.shape[0])
    if given is None:
        found = opened.channel_names
        if found is not None and len(found) == n_channels and len(set(found)) == n_channels:
            return [name.replace("/", "_") for name in found]
        return [f"channel_{i}" for i in range(n_channels)]
    if len(given) != n_channels:
        msg = f"`channel_names` has {len(given)} names, but `image` has {n_channels} channels: {given}."
        raise ValueError(msg)
    return given


def _check_same_kind(
    field: Field, shape: tuple[int, int, int], dtype: np.dtype, n_channels: int, first_dtype: np.dtype | None
) -> None:
    if shape[0] != n_channels:
        msg = f"{field.description} has {shape[0]} channels, but the first field has {n_channels}; they must be equal."
        raise ValueError(msg)
    if dtype != first_dtype:
        msg = f"{field.description} has dtype {dtype}, but the first field has {first_dtype}; they must be equal."
        raise ValueError(msg)


def _check_not_empty(fields: list[Field], regions: list[Regions]) -> None:
    empty = [field for field, found in zip(fields, regions, strict=True) if len(found) == 0]
    if not empty:
        return
    argument = "`labels`" if empty[0].labels is not None else "`centers`"
    if len(empty) == len(fields):
        what = "no label above 0" if empty[0].labels is not None else "no positions"
        msg = f"{argument} has {what}: there is nothing to describe."
        raise ValueError(msg)
    names = [field.name for field in empty]
    msg = f"{argument}: {len(empty)} of {len(fields)} fields have no objects and contribute no rows: {names[:5]}."
    warnings.warn(msg, UserWarning, stacklevel=4)


def _warn_binary(regions: list[Regions]) -> None:
    binary = [found for found in regions if found.was_binary]
    if binary:
        n_objects = sum(map(len, binary))
        msg = (
            f"`labels`: {len(binary)} of {len(regions)} fields are binary masks; their {n_objects} connected "
            "components are taken as objects, so objects that touch are one. Give label images to avoid this."
        )
        warnings.warn(msg, UserWarning, stacklevel=4)
