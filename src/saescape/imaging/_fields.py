"""Pair images, labels and positions into fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._labels import check_labels
from ._read import is_path, open_image, open_label_image
from ._regions import check_centers

if TYPE_CHECKING:
    from saescape._typing import FloatArray

    from ._labels import LabelImage
    from ._read import OpenedImage


@dataclass(frozen=True)
class Field:
    """One image with what belongs to it; files are opened when their pixels are needed."""

    name: str
    image: Any
    labels: Any = None
    centers: FloatArray | None = None
    description: str = "`image`"

    def open(self) -> OpenedImage:
        """Pixels as (C, Y, X)."""
        return open_image(self.image, self.description)

    def open_labels(self, shape: tuple[int, int]) -> LabelImage:
        """Checked labels 1..n."""
        where = self.description.replace("`image", "`labels", 1)
        return check_labels(open_label_image(self.labels, where), shape, where)


def collect_fields(image: Any, labels: Any, centers: Any, region: str) -> list[Field]:
    """Fields of one image, a sequence of images or a dict of named ones; the rest has the same structure."""
    names, images, keys = _split(image, region)
    if not images:
        msg = "`image` is empty: give at least one image."
        raise ValueError(msg)
    names = [clean_name(name) for name in names]
    if len(set(names)) != len(names):
        msg = (
            f"`image` has fields with the same name ({sorted({n for n in names if names.count(n) > 1})}); rename them."
        )
        raise ValueError(msg)
    all_labels = _match("labels", labels, names, keys)
    all_centers = _match("centers", centers, names, keys)
    fields = []
    for name, key, one, one_labels, one_centers in zip(names, keys, images, all_labels, all_centers, strict=True):
        at = "" if key is None else f"[{key!r}]"
        if one_centers is not None:
            one_centers = check_centers(one_centers, f"`centers{at}`")
        fields.append(Field(name, one, one_labels, one_centers, f"`image{at}`"))
    return fields


def clean_name(name: str) -> str:
    """Keys of `uns` must not hold a slash."""
    return str(name).replace("/", "_")


def _split(image: Any, region: str) -> tuple[list[str], list[Any], list[Any]]:
    if isinstance(image, Mapping):
        return [str(name) for name in image], list(image.values()), list(image)
    if isinstance(image, Sequence) and not is_path(image):
        numbers = list(range(len(image)))
        return [f"{region}_{i}" for i in numbers], list(image), list(numbers)
    return [region], [image], [None]


def _match(argument: str, given: Any, names: list[str], keys: list[Any]) -> list[Any]:
    """Bring `labels` or `centers` into the order of the fields."""
    if given is None:
        return [None] * len(names)
    if keys[0] is None:
        if isinstance(given, Mapping) or (argument == "labels" and _is_sequence(given)):
            msg = f"`{argument}` must be one array for one image, found {type(given).__name__}."
            raise ValueError(msg)
        return [given]
    if isinstance(keys[0], int) and not isinstance(given, Mapping):
        if not _is_sequence(given) or len(given) != len(names):
            found = f"{len(given)}" if _is_sequence(given) else type(given).__name__
            msg = f"`{argument}` must be a sequence with one entry per image ({len(names)}), found {found}."
            raise ValueError(msg)
        return list(given)
    if not isinstance(given, Mapping):
        msg = f"`{argument}` must be a dict with the keys of `image`, found {type(given).__name__}."
        raise ValueError(msg)
    missing = [key for key in keys if key not in given]
    extra = [key for key in given if key not in keys]
    if missing or extra:
        msg = (
            f"`{argument}` and `image` must have the same keys; without {argument}: {missing}, without image: {extra}."
        )
        raise ValueError(msg)
    return [given[key] for key in keys]


def _is_sequence(given: Any) -> bool:
    return isinstance(given, Sequence) and not is_path(given) and not isinstance(given, np.ndarray)
