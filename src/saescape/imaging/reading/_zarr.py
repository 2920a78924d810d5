"""Open OME-Zarr images (metadata 0.4 and 0.5) and plain zarr arrays with zarr alone."""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, Any

from ._axes import order_array
from ._levels import level_number
from ._opened import OpenedImage
from ._tiff_metadata import square_side
from ._units import in_micrometres

if TYPE_CHECKING:
    from pathlib import Path

_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


class ZarrPixels:
    """A zarr array on disk; an error while it is read names the store."""

    def __init__(self, array: Any, path: Path, where: str) -> None:
        self.array, self.path, self.where = array, path, where
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, array.chunks

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.array[key]
        except Exception as error:  # codecs raise errors of many kinds
            msg = f"{self.where}: {str(self.path)!r} cannot be read; is it complete? ({error})"
            raise ValueError(msg) from error


def is_zarr(path: Path) -> bool:
    """Whether the folder holds a zarr group or array."""
    return path.is_dir() and any((path / name).is_file() for name in _METADATA)


def open_zarr(path: Path, axes: str | None, scale: int | str | None, where: str) -> OpenedImage:
    """An image group at one of its resolution levels, or an array."""
    node = open_node(path, where)
    if hasattr(node, "shape"):
        return order_array(ZarrPixels(node, path, where), axes, where)
    ome = ome_metadata(node)
    if not ome.get("multiscales"):
        inside = _what_is_inside(node, ome)
        msg = f"{where}: {str(path)!r} is no OME-Zarr image: no `multiscales` in its metadata.{inside}"
        raise ValueError(msg)
    multiscale = ome["multiscales"][0]
    datasets = multiscale["datasets"]
    number = level_number(scale, [_level_name(dataset["path"]) for dataset in datasets], where)
    array = node[datasets[number]["path"]]
    names = [str(axis["name"] if isinstance(axis, dict) else axis).upper() for axis in multiscale.get("axes", [])]
    found = "".join(names) or "TCZYX"[-array.ndim :]
    if len(found) != array.ndim:
        msg = f"{where}: {str(path)!r} names axes {names}, but its array has shape {array.shape}."
        raise ValueError(msg)
    opened = order_array(ZarrPixels(array, path, where), axes, where, found)
    labels = [str(channel.get("label", "")) for channel in ome.get("omero", {}).get("channels", [])]
    channel_names = tuple(labels) if labels and all(labels) else opened.channel_names
    return OpenedImage(opened.pixels, channel_names, _pixel_size(multiscale, datasets[number], found))


def zarr_labels(path: Path, name: str, where: str) -> Path:
    """The label image `name` of an OME-Zarr image."""
    inside = path / "labels" / name
    if not is_zarr(inside):
        folder = path / "labels"
        available = sorted(one.name for one in folder.iterdir() if is_zarr(one)) if folder.is_dir() else []
        msg = f"{where}: {str(path)!r} has no labels {name!r}. Available labels: {available}."
        raise KeyError(msg)
    return inside


def ome_metadata(group: Any) -> dict[str, Any]:
    """OME metadata of version 0.5 (under `ome`) or before."""
    attributes = dict(group.attrs)
    return dict(attributes.get("ome", attributes))


def open_node(path: Path, where: str) -> Any:
    """A zarr group or array."""
    import zarr

    try:
        return zarr.open(str(path), mode="r")
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        msg = f"{where}: {str(path)!r} cannot be read as zarr; is it complete? ({error})"
        raise ValueError(msg) from error


def _level_name(path: str) -> str:
    """`s1`, `scale1` and `1` are all called `1`."""
    return path.removeprefix("scale").removeprefix("s") or path


def _pixel_size(multiscale: dict[str, Any], dataset: dict[str, Any], axes: str) -> float | None:
    units = [axis.get("unit") if isinstance(axis, dict) else None for axis in multiscale.get("axes", [])]
    sides = []
    for axis in "XY":
        at = axes.index(axis)
        scales = [
            one["scale"][at]
            for owner in (dataset, multiscale)
            for one in owner.get("coordinateTransformations", [])
            if one.get("type") == "scale" and len(one.get("scale", [])) > at
        ]
        sides.append(in_micrometres(prod(scales), units[at] if at < len(units) else None) if scales else None)
    return square_side(*sides)


def _what_is_inside(group: Any, ome: dict[str, Any]) -> str:
    if "plate" in ome:
        wells = [str(well["path"]) for well in ome["plate"].get("wells", [])]
        return f" It is a plate with the wells {wells[:5]}: give the paths of images in it, e.g. '<plate>/A/1/0'."
    members = sorted(str(key) for key in group.group_keys())
    return f" It holds {members[:10]}." if members else ""
