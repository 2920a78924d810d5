"""The fields of a call: one image, a sequence, a dict, or a folder of files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._compartments import REST
from ._field_obs import check_columns, rows_of_fields
from ._fields import Field, clean_name, is_sequence, match_to_fields
from ._regions import check_centers
from .reading._channel_files import sources_of_dict, sources_of_files
from .reading._folder import find_fields, is_folder
from .reading._opened import Reading, is_path
from .reading._plate import plate_fields
from .reading._zarr import is_zarr, zarr_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from .reading._folder import FieldFiles

_MAX_LISTED = 5


def collect_fields(
    image: Any,
    labels: Any,
    centers: Any,
    region: str,
    *,
    reading: Reading | None = None,
    pattern: str | None = None,
    labels_pattern: str | None = None,
    compartments: Mapping[str, Any] | None = None,
    obs: pd.DataFrame | None = None,
) -> list[Field]:
    """Fields of one image, a sequence of images, a dict of named ones or a folder; the rest has the same structure."""
    reading = reading or Reading()
    parts = {"labels": labels, **{f"compartments[{name!r}]": one for name, one in (compartments or {}).items()}}
    files = None if pattern is not None or labels_pattern is not None else plate_fields(image)
    if is_folder(image):
        files, parts = _folder(image, parts, pattern, labels_pattern)
    if files is not None:
        images, names = sources_of_files(files, reading), [one.name for one in files]
        keys, groups = list(names), [{k: v for k, v in one.groups.items() if k != "field"} for one in files]
        for group in groups:
            check_columns(group, "`pattern`, named groups", compartments or {})
    else:
        if pattern is not None or labels_pattern is not None:
            if is_path(image) and not Path(image).exists():
                msg = f"`image`: no folder {str(image)!r}."
                raise FileNotFoundError(msg)
            msg = "`pattern` and `labels_pattern` need a folder as `image`."
            raise ValueError(msg)
        names, images, keys = _split(image, region, reading)
        if not images:
            msg = "`image` is empty: give at least one image."
            raise ValueError(msg)
        groups = [{} for _ in names]
    names = [clean_name(name) for name in names]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        msg = f"`image` has fields with the same name ({twice}); rename them."
        raise ValueError(msg)
    matched = {argument: _label_sources(argument, one, names, keys, images) for argument, one in parts.items()}
    all_centers = match_to_fields("centers", centers, names, keys)
    rows = rows_of_fields(obs, names)
    fields = []
    for i, (name, key) in enumerate(zip(names, keys, strict=True)):
        at = "" if key is None else f"[{key!r}]"
        position = all_centers[i]
        fields.append(
            Field(
                name,
                images[i],
                matched["labels"][i],
                None if position is None else check_centers(position, f"`centers{at}`"),
                f"`image{at}`",
                {part: matched[f"compartments[{part!r}]"][i] for part in compartments or {}},
                {**groups[i], **rows[i]},
                reading,
            )
        )
    return fields


def _split(image: Any, region: str, reading: Reading) -> tuple[list[str], list[Any], list[Any]]:
    if isinstance(image, Mapping):
        names = [str(name) for name in image]
        nested = [isinstance(one, Mapping) for one in image.values()]
        if image and all(nested):
            return names, sources_of_dict(image, reading), list(image)
        if any(nested):
            msg = "`image` must hold either one image per field or a dict of channels per field, not both."
            raise ValueError(msg)
        return names, list(image.values()), list(image)
    if is_sequence(image):
        numbers = list(range(len(image)))
        return [f"{region}_{i}" for i in numbers], list(image), list(numbers)
    return [region], [image], [None]


def _label_sources(argument: str, given: Any, names: list[str], keys: list[Any], images: Sequence[Any]) -> list[Any]:
    """Labels of each field; a name stands for labels inside the OME-Zarr of the image."""
    if isinstance(given, str) and given == REST:
        return [REST] * len(names)
    if _is_name(given, images):
        return [zarr_labels(Path(one), given, f"`{argument}`") for one in images]
    return [
        zarr_labels(Path(image), one, f"`{argument}`") if _is_name(one, [image]) else one
        for one, image in zip(match_to_fields(argument, given, names, keys), images, strict=True)
    ]


def _is_name(given: Any, images: Sequence[Any]) -> bool:
    return (
        isinstance(given, str)
        and not Path(given).exists()
        and not Path(given).suffix
        and all(is_path(one) and is_zarr(Path(one)) for one in images)
    )


def _folder(
    image: Any, parts: dict[str, Any], pattern: str | None, labels_pattern: str | None
) -> tuple[list[FieldFiles], dict[str, Any]]:
    """Files of all fields that have all label images, and the label images by field."""
    if labels_pattern is not None and not is_folder(parts["labels"]):
        msg = f"`labels_pattern` needs a folder as `labels` (it may be that of `image`), found {parts['labels']!r:.80}."
        raise ValueError(msg)
    fields = find_fields(image, pattern, "pattern")
    names = [one.name for one in fields]
    labels_folder = parts["labels"] if is_folder(parts["labels"]) else image
    found: dict[str, Any] = {}
    for argument, given in parts.items():
        if is_folder(given):
            found[argument] = _label_files(given, labels_pattern, "labels_pattern", fields)
        elif argument != "labels" and isinstance(given, str) and given != REST and not Path(given).exists():
            # another pattern for the folder of the labels
            found[argument] = _label_files(labels_folder, given, argument, fields)
        else:
            found[argument] = given
    kept = set(names)
    for argument, given in found.items():
        if not isinstance(given, Mapping):
            continue
        missing, extra = [name for name in names if name not in given], [name for name in given if name not in names]
        if len(missing) == len(names):
            msg = (
                f"`{argument}` belongs to none of the fields: fields are {names[:_MAX_LISTED]}, labels are for "
                f"{list(given)[:_MAX_LISTED]}. The named groups of both patterns must agree."
            )
            raise ValueError(msg)
        if missing or extra:
            msg = (
                f"`{argument}`: {len(missing)} of {len(names)} fields have no labels and are left out: "
                f"{missing[:_MAX_LISTED]}; {len(extra)} label images have no field: {extra[:_MAX_LISTED]}."
            )
            warnings.warn(msg, UserWarning, stacklevel=4)
            kept -= set(missing)
    if not kept:
        msg = f"no field has all of {list(found)}: there is nothing to describe."
        raise ValueError(msg)
    fields = [one for one in fields if one.name in kept]
    return fields, {
        argument: {name: given[name] for name in names if name in kept} if isinstance(given, Mapping) else given
        for argument, given in found.items()
    }


def _label_files(folder: Any, pattern: str | None, argument: str, fields: list[FieldFiles]) -> dict[str, Path]:
    found = find_fields(folder, pattern, argument)
    several = [one.name for one in found if set(one.channels) != {None} or len(one.channels[None]) != 1]
    if several:
        msg = f"`{argument}` must find one label image per field, without 'channel' or 'z'; not so for {several[:5]}."
        raise ValueError(msg)
    groups, own = set(fields[0].groups), set(found[0].groups)
    if groups != own:
        msg = f"`{argument}` must have the named groups of `pattern`, {sorted(groups)}, found {sorted(own)}."
        raise ValueError(msg)
    # the groups name the field in the order of `pattern`
    order = list(fields[0].groups)
    return {clean_name("_".join(one.groups[group] for group in order)): one.channels[None][0] for one in found}
