"""Images and labels of a SpatialData object."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._fields import Field, clean_name
from ._regions import check_centers


def is_spatialdata(image: object) -> bool:
    """Whether `image` is a SpatialData, told without importing it."""
    return any(
        cls.__name__ == "SpatialData" and cls.__module__.startswith("spatialdata") for cls in type(image).__mro__
    )


def spatialdata_fields(sdata: Any, image_key: Any, labels_key: Any, centers: Any) -> list[Field]:
    """One field per image element; named after the labels, which is what a SpatialData table annotates."""
    image_keys = _keys(sdata.images, image_key, "image_key", "images")
    fields = []
    labels_keys: list[str | None] = [None] * len(image_keys)
    if labels_key is not None:
        labels_keys = [*_keys(sdata.labels, labels_key, "labels_key", "labels")]
        if len(labels_keys) != len(image_keys):
            msg = f"`labels_key` must name one element per image ({len(image_keys)}), found {len(labels_keys)}."
            raise ValueError(msg)
    if centers is not None and len(image_keys) > 1:
        msg = "`centers` with a SpatialData needs a single `image_key`."
        raise ValueError(msg)
    for one_image, one_labels in zip(image_keys, labels_keys, strict=True):
        image = _first_scale(sdata.images[one_image])
        labels = None
        if one_labels is not None:
            labels = _first_scale(sdata.labels[one_labels])
            _check_aligned(image, labels, one_image, one_labels)
        fields.append(
            Field(
                clean_name(one_image if one_labels is None else one_labels),
                image,
                None if labels is None else labels.data,
                None if centers is None else check_centers(centers, "`centers`"),
                f"`image[{one_image!r}]`",
            )
        )
    return fields


def _keys(elements: Any, given: Any, argument: str, kind: str) -> list[str]:
    available = list(elements.keys())
    if given is None:
        if len(available) == 1:
            return available
        msg = f"`{argument}` must name one of the {kind} of the SpatialData: {available}."
        raise ValueError(msg)
    given = [given] if isinstance(given, str) else list(given)
    for key in given:
        if key not in available:
            msg = f"`{argument}={key!r}`: the SpatialData has no such element in `{kind}`. Available keys: {available}."
            raise KeyError(msg)
    return given


def _first_scale(element: Any) -> Any:
    """The array of the full resolution of a single- or multi-scale element."""
    if hasattr(element, "dims") and hasattr(element, "coords") and hasattr(element, "data"):
        return element
    scale = element[next(iter(element.children))]
    return next(iter(scale.ds.data_vars.values()))


def _check_aligned(image: Any, labels: Any, image_key: str, labels_key: str) -> None:
    from spatialdata.transformations import get_transformation

    of_image, of_labels = get_transformation(image, get_all=True), get_transformation(labels, get_all=True)
    shared = sorted(set(of_image) & set(of_labels))
    if not shared:
        msg = f"`image_key={image_key!r}` and `labels_key={labels_key!r}` share no coordinate system."
        raise ValueError(msg)
    matrices = [
        [one[system].to_affine_matrix(input_axes=("x", "y"), output_axes=("x", "y")) for one in (of_image, of_labels)]
        for system in shared
    ]
    if not any(np.allclose(*pair) for pair in matrices):
        msg = (
            f"`image_key={image_key!r}` and `labels_key={labels_key!r}` lie differently in {shared}; bring the labels "
            "onto the grid of the image first, e.g. with `spatialdata.rasterize`."
        )
        raise ValueError(msg)
