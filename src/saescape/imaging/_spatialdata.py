"""Images, labels and tables of a SpatialData object."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._compartments import REST
from ._field_obs import rows_of_fields
from ._fields import Field, clean_name
from ._regions import check_centers
from ._spatial_tables import annotation_of
from .reading._levels import level_number
from .reading._open import MovedLabels
from .reading._opened import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


def is_spatialdata(image: object) -> bool:
    """Whether `image` is a SpatialData, told without importing it."""
    return any(
        cls.__name__ == "SpatialData" and cls.__module__.startswith("spatialdata") for cls in type(image).__mro__
    )


def spatialdata_fields(
    sdata: Any,
    image_key: Any,
    labels_key: Any,
    centers: Any,
    *,
    reading: Reading | None = None,
    coordinate_system: str | None = None,
    compartments: Mapping[str, Any] | None = None,
    obs: pd.DataFrame | None = None,
) -> list[Field]:
    """One field per labels element, or per image; named after the labels, which is what a table annotates.

    One image may go with several labels, and so with several regions of a table.
    """
    reading = reading or Reading()
    images = _keys(sdata.images, image_key, "image_key", "images", coordinate_system)
    labels = None if labels_key is None else _keys(sdata.labels, labels_key, "labels_key", "labels", None)
    if labels is not None and len(images) == 1:
        images = images * len(labels)
    if labels is not None and len(labels) != len(images):
        msg = f"`labels_key` must name one element per image ({len(images)}), found {len(labels)}."
        raise ValueError(msg)
    if centers is not None and len(images) > 1:
        msg = "`centers` with a SpatialData needs a single `image_key`."
        raise ValueError(msg)
    parts = {name: _part_keys(sdata, name, given, len(images)) for name, given in (compartments or {}).items()}
    names = [clean_name(one) for one in (labels or images)]
    rows = rows_of_fields(obs, names)
    fields = []
    for i, image in enumerate(images):
        element = _element(sdata, "images", image, reading.scale)
        placed = [labels[i]] if labels is not None else []
        placed += [keys[i] for keys in parts.values() if keys[i] != REST]
        sources = {
            key: _aligned(sdata, element, key, image, reading.scale, coordinate_system) for key in dict.fromkeys(placed)
        }
        fields.append(
            Field(
                names[i],
                _on_disk(sdata, "images", image, element) or element,
                None if labels is None else sources[labels[i]],
                None if centers is None else check_centers(centers, "`centers`"),
                f"`image[{image!r}]`",
                {name: sources.get(keys[i], REST) for name, keys in parts.items()},
                rows[i],
                reading,
                None if labels is None else annotation_of(sdata, labels[i]),
            )
        )
    return fields


def _keys(elements: Any, given: Any, argument: str, kind: str, system: str | None) -> list[str]:
    available = list(elements.keys())
    if system is not None:
        within = [key for key in available if system in _systems(elements[key])]
        if not within:
            found = sorted({one for key in available for one in _systems(elements[key])})
            msg = f"`coordinate_system={system!r}`: no element in `{kind}` lies in it. Coordinate systems: {found}."
            raise KeyError(msg)
        if given is None:
            available = within
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
    if not given:
        msg = f"`{argument}` is empty: name at least one of {available}."
        raise ValueError(msg)
    return given


def _part_keys(sdata: Any, name: str, given: Any, n_fields: int) -> list[str]:
    argument = f"compartments[{name!r}]"
    if isinstance(given, str) and given == REST:
        return [REST] * n_fields
    keys = _keys(sdata.labels, given, argument, "labels", None)
    if len(keys) != n_fields:
        msg = f"`{argument}` must name one labels element per field ({n_fields}), found {len(keys)}."
        raise ValueError(msg)
    return keys


def _systems(element: Any) -> list[str]:
    from spatialdata.transformations import get_transformation

    return list(get_transformation(element, get_all=True))


def _element(sdata: Any, kind: str, key: str, scale: int | str | None) -> Any:
    """The DataArray of one resolution level of a single- or multi-scale element."""
    element = getattr(sdata, kind)[key]
    if hasattr(element, "dims") and hasattr(element, "coords") and hasattr(element, "data"):
        level_number(scale, ["0"], f"`{key}`")
        return element
    names = list(element.children)
    number = level_number(scale, [name.removeprefix("scale") for name in names], f"`{key}`")
    return next(iter(element[names[number]].ds.data_vars.values()))


def _on_disk(sdata: Any, kind: str, key: str, element: Any) -> Path | None:
    """Where the element is stored, if it is exactly what is stored there."""
    if getattr(sdata, "path", None) is None:
        return None
    path = Path(sdata.path) / kind / key
    graph = getattr(element.data, "dask", None)
    if graph is None or not all(name.startswith(("original-from-zarr", "from-zarr")) for name in graph.layers):
        return None
    from spatialdata import get_dask_backing_files

    return path if [Path(one) for one in get_dask_backing_files(element)] == [path.resolve()] else None


def _aligned(sdata: Any, image: Any, key: str, image_key: str, scale: Any, system: str | None) -> Any:
    """Labels on the grid of the image; they may be moved by whole pixels, but not scaled or turned."""
    labels = _element(sdata, "labels", key, scale)
    source = _on_disk(sdata, "labels", key, labels)
    if source is None:
        source = labels.data
    offset = _offset(image, labels, image_key, key, system)
    if offset == (0, 0):
        # if the shape is another one, that is an error as for arrays
        return source
    shape = (int(image.sizes["y"]), int(image.sizes["x"]))
    if any(first >= n or first + m <= 0 for first, n, m in zip(offset, shape, labels.shape, strict=True)):
        msg = f"`labels_key={key!r}` lies outside of `image_key={image_key!r}`: {offset} (row, column) from its corner."
        raise ValueError(msg)
    return MovedLabels(source, offset, shape)


def _offset(image: Any, labels: Any, image_key: str, labels_key: str, system: str | None) -> tuple[int, int]:
    """Row and column of the image at which the labels begin."""
    from spatialdata.transformations import get_transformation

    both = f"`image_key={image_key!r}` and `labels_key={labels_key!r}`"
    of_image, of_labels = get_transformation(image, get_all=True), get_transformation(labels, get_all=True)
    shared = sorted(set(of_image) & set(of_labels))
    if system is not None and system not in shared:
        msg = f"`coordinate_system={system!r}`: {both} do not both lie in it; they share {shared}."
        raise ValueError(msg)
    if not shared:
        msg = f"{both} share no coordinate system."
        raise ValueError(msg)
    for one in [system] if system is not None else shared:
        first, second = (
            found[one].to_affine_matrix(input_axes=("x", "y"), output_axes=("x", "y"))
            for found in (of_image, of_labels)
        )
        relative = np.linalg.solve(first, second)
        x, y = (float(value) for value in relative[:2, 2])
        if np.allclose(relative[:2, :2], np.eye(2)) and np.allclose([x, y], np.round([x, y]), atol=1e-3):
            return round(y), round(x)
    msg = (
        f"{both} lie differently in {[system] if system else shared}: only shifts by whole pixels are undone. Bring "
        "the labels onto the grid of the image first, e.g. with `spatialdata.rasterize`."
    )
    raise ValueError(msg)
