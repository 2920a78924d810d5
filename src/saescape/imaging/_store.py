"""What `image_to_adata` keeps of the pixels, and how they are found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._fields import is_on_disk
from ._labels import check_labels
from ._stored_paths import resolve
from .reading._open import ChannelFiles, MovedLabels, open_image, open_label_image
from .reading._opened import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ._fields import Field
    from ._labels import LabelImage

# images and labels up to this size together are kept inside the AnnData
MAX_KEPT_BYTES = 256 * 2**20


def describe_fields(
    fields: list[Field], shapes: list[tuple[int, int, int]], dtype: np.dtype
) -> dict[str, dict[str, Any]]:
    """Entries of `uns["image_to_adata"]["fields"]`: where pixels and labels are, or they themselves."""
    n_bytes = 0
    for field, shape in zip(fields, shapes, strict=True):
        n_bytes += 0 if is_on_disk(field.image) else int(np.prod(shape)) * dtype.itemsize
        n_bytes += 0 if field.labels is None or is_on_disk(field.labels) else 4 * shape[1] * shape[2]
    keep = n_bytes <= MAX_KEPT_BYTES
    entries = {}
    for field, shape in zip(fields, shapes, strict=True):
        entry: dict[str, Any] = {
            "source": "array",
            "path": "",
            "shape": np.asarray(shape, np.int64),
            "dtype": str(dtype),
        }
        if is_on_disk(field.image):
            entry.update(_image_entry(field.image, field.reading))
        elif keep:
            # a copy: the caller may go on changing his array
            entry["pixels"] = np.array(field.open().pixels, copy=True)
        if field.pixel_size is not None:
            entry["pixel_size"] = field.pixel_size
        if field.labels is not None and is_on_disk(field.labels):
            entry.update(_labels_entry(field.labels))
        elif field.labels is not None and keep:
            labels = field.open_labels(shape[1:])
            ids = np.concatenate([[0], labels.ids])
            numbers = labels.read(0, shape[1], 0, shape[2])
            entry["labels"] = ids.astype(np.min_scalar_type(int(ids.max())))[numbers]
        entries[field.name] = entry
    return entries


def stored_pixels(entry: Mapping[str, Any], name: str, folder: str | Path | None) -> Any:
    """Pixels (C, Y, X) of a field, from the AnnData or, lazily, from its files."""
    if "pixels" in entry:
        return np.asarray(entry["pixels"])
    if entry["source"] == "array":
        msg = (
            f"field {name!r}: all pixels together were too large to be kept in memory (over {MAX_KEPT_BYTES // 2**20} "
            "MiB); write the images to files and give their paths to `sae.pp.image_to_adata`."
        )
        raise ValueError(msg)
    if entry["source"] == "channels":
        files = [resolve(str(one), folder) for one in entry["paths"]]
        if len(set(files)) < len(files):
            msg = (
                f"field {name!r}: files of different channels or planes have one name and cannot be told apart in "
                f"`folder` ({str(folder)!r}); keep their subfolders in it."
            )
            raise ValueError(msg)
        of_channel = np.asarray(entry["path_channels"])
        names = tuple(map(str, entry["path_names"]))
        planes = tuple(tuple(files[i] for i in np.flatnonzero(of_channel == c)) for c in range(len(names)))
        source: Any = ChannelFiles(names, planes)
    else:
        source = resolve(str(entry["path"]), folder)
    pixels = open_image(source, f"field {name!r}", _stored_reading(entry)).pixels
    expected = tuple(int(n) for n in entry["shape"])
    if tuple(pixels.shape) != expected:
        where = repr(entry["path"]) if entry["path"] else f"field {name!r}"
        msg = f"{where} now has shape {tuple(pixels.shape)}, but had {expected}; it is another image."
        raise ValueError(msg)
    return pixels


def stored_labels(entry: Mapping[str, Any], name: str, folder: str | Path | None) -> np.ndarray | LabelImage:
    """Labels of a field with the ids of `obs["instance_id"]`: a (Y, X) array, or read from a file in parts."""
    if "labels" in entry:
        return np.asarray(entry["labels"])
    if "labels_path" not in entry:
        msg = (
            f"field {name!r}: its labels were not kept; use `mask_crops=False`, or give the paths of label files to "
            "`sae.pp.image_to_adata`."
        )
        raise ValueError(msg)
    where = f"labels of field {name!r}"
    shape = (int(entry["shape"][1]), int(entry["shape"][2]))
    source: Any = resolve(str(entry["labels_path"]), folder)
    if "labels_offset" in entry:
        row, column = (int(n) for n in entry["labels_offset"])
        source = MovedLabels(source, (row, column), shape)
    return check_labels(open_label_image(source, where, _stored_reading(entry).scale), shape, where)


def _image_entry(image: Any, reading: Reading) -> dict[str, Any]:
    entry: dict[str, Any] = {"source": "path", "path": "" if isinstance(image, ChannelFiles) else str(image)}
    if isinstance(image, ChannelFiles):
        entry["source"] = "channels"
        entry["paths"] = np.array([str(plane) for planes in image.planes for plane in planes], dtype=str)
        entry["path_channels"] = np.repeat(np.arange(len(image.planes)), [len(planes) for planes in image.planes])
        entry["path_names"] = np.array(image.names, dtype=str)
    if reading.axes is not None:
        entry["axes"] = reading.axes
    if reading.scale is not None:
        entry["scale"] = reading.scale
    if reading.channel_names is not None:
        entry["channel_names"] = np.array(reading.channel_names, dtype=str)
    if reading.channels is not None:
        entry["channels"] = np.array([found for found, _ in reading.channels], dtype=str)
    return entry


def _labels_entry(labels: Any) -> dict[str, Any]:
    if isinstance(labels, MovedLabels):
        return {"labels_path": str(labels.source), "labels_offset": np.array(labels.offset, dtype=np.int64)}
    return {"labels_path": str(labels)}


def _stored_reading(entry: Mapping[str, Any]) -> Reading:
    scale = entry.get("scale")
    names, channels = entry.get("channel_names"), entry.get("channels")
    return Reading(
        axes=None if entry.get("axes") is None else str(entry["axes"]),
        scale=scale if scale is None or isinstance(scale, str) else int(scale),
        channel_names=None if names is None else tuple(map(str, names)),
        channels=None if channels is None else tuple((str(one), str(one)) for one in channels),
    )
