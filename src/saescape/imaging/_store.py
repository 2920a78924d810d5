"""What `image_to_adata` keeps of the pixels, and how they are found again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._labels import check_labels
from ._read import IMAGE_SUFFIXES, is_path, open_image, open_label_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._fields import Field

# images and labels up to this size together are kept inside the AnnData
MAX_KEPT_BYTES = 256 * 2**20


def describe_fields(
    fields: list[Field], shapes: list[tuple[int, int, int]], dtype: np.dtype
) -> dict[str, dict[str, Any]]:
    """Entries of `uns["image_to_adata"]["fields"]`: where pixels and labels are, or they themselves."""
    n_bytes = 0
    for field, shape in zip(fields, shapes, strict=True):
        n_bytes += 0 if is_path(field.image) else int(np.prod(shape)) * dtype.itemsize
        n_bytes += 0 if field.labels is None or is_path(field.labels) else 4 * shape[1] * shape[2]
    keep = n_bytes <= MAX_KEPT_BYTES
    entries = {}
    for field, shape in zip(fields, shapes, strict=True):
        entry: dict[str, Any] = {
            "source": "path" if is_path(field.image) else "array",
            "path": str(field.image) if is_path(field.image) else "",
            "shape": np.asarray(shape, dtype=np.int64),
            "dtype": str(dtype),
        }
        if keep and not is_path(field.image):
            # a copy: the caller may go on changing his array
            entry["pixels"] = np.array(field.open().pixels, copy=True)
        if is_path(field.labels):
            entry["labels_path"] = str(field.labels)
        elif field.labels is not None and keep:
            labels = field.open_labels(shape[1:])
            ids = np.concatenate([[0], labels.ids])
            entry["labels"] = ids.astype(np.min_scalar_type(int(ids.max())))[labels.labels]
        entries[field.name] = entry
    return entries


def stored_pixels(entry: Mapping[str, Any], name: str, folder: str | Path | None) -> Any:
    """Pixels (C, Y, X) of a field, from the AnnData or from its file."""
    if "pixels" in entry:
        return np.asarray(entry["pixels"])
    if not entry["path"]:
        msg = (
            f"field {name!r}: all pixels together were too large to be kept in memory (over {MAX_KEPT_BYTES // 2**20} "
            "MiB); write the images to files and give their paths to `sae.pp.image_to_adata`."
        )
        raise ValueError(msg)
    pixels = open_image(_resolve(str(entry["path"]), folder), f"field {name!r}").pixels
    expected = tuple(int(n) for n in entry["shape"])
    if tuple(pixels.shape) != expected:
        msg = f"{entry['path']!r} now has shape {tuple(pixels.shape)}, but had {expected}; it is another image."
        raise ValueError(msg)
    return pixels


def stored_labels(entry: Mapping[str, Any], name: str, folder: str | Path | None) -> np.ndarray:
    """Label image (Y, X) of a field with the ids of `obs["instance_id"]`."""
    if "labels" in entry:
        return np.asarray(entry["labels"])
    if "labels_path" not in entry:
        msg = (
            f"field {name!r}: its labels were not kept; use `mask_crops=False`, or give the paths of label files to "
            "`sae.pp.image_to_adata`."
        )
        raise ValueError(msg)
    where = f"labels of field {name!r}"
    shape = tuple(int(n) for n in entry["shape"])[1:]
    labels = open_label_image(_resolve(str(entry["labels_path"]), folder), where)
    checked = check_labels(labels, (shape[0], shape[1]), where)
    return np.concatenate([[0], checked.ids])[checked.labels]


def _resolve(stored: str, folder: str | Path | None) -> Path:
    """The file a stored path stands for; with `folder`, a file inside it and nowhere else."""
    path = Path(stored)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        msg = f"stored path {stored!r} is not an image file ({sorted(IMAGE_SUFFIXES)})."
        raise ValueError(msg)
    if folder is None:
        return path
    root = Path(folder).resolve()
    inside = (root / (path.name if path.is_absolute() else path)).resolve()
    if not inside.is_relative_to(root):
        msg = f"stored path {stored!r} leads out of `folder` ({str(folder)!r})."
        raise ValueError(msg)
    return inside
