"""First pass over all fields: check everything, find the observations, summarise the intensities."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from saescape._logging import logg
from saescape._random import child_seed

from ._compartments import match_compartments
from ._preview import Preview
from ._regions import center_regions, image_region, label_regions, tile_regions
from ._scaling import ChannelSummary
from ._strips import iterate_strips, strip_rows
from ._workers import active_client, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._fields import Field
    from ._regions import Regions

MAX_PREVIEW_SIDE = 1000
MIN_PREVIEW_SIDE = 64
# fewer labels, or a smaller share of them, may be in several pieces without a warning
MIN_SPLIT, MAX_SPLIT_SHARE = 3, 0.1
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


@dataclass(frozen=True)
class FieldScan:
    """What the first pass found in one field."""

    channel_names: list[str]
    shape: tuple[int, int, int]
    dtype: np.dtype
    regions: Regions
    summary: ChannelSummary
    preview: np.ndarray
    factor: int


def scan_fields(
    fields: list[Field],
    find: Callable[[Field, tuple[int, int]], Regions],
    *,
    block: int,
    rng: np.random.Generator,
) -> Scan:
    """Open every field once and read it in strips; `find` gives the observations of a field of that (Y, X)."""
    _check_unique(fields)
    if not fields:
        msg = "`image` is empty: give at least one image."
        raise ValueError(msg)
    side = int(np.sqrt(_PREVIEW_BYTES / 3 / len(fields)))
    side = min(max(side, MIN_PREVIEW_SIDE), MAX_PREVIEW_SIDE)
    # a seed for each field, so that it does not matter which one is done first
    calls = [(field, find, block, side, len(fields), child_seed(rng)) for field in fields]
    client = active_client() if len(fields) > 1 and all(field.on_disk for field in fields) else None
    found = map(_scan_call, calls) if client is None else in_order(client, _scan_call, calls)
    scans: list[FieldScan] = []
    for field, scan in zip(fields, found, strict=True):
        if scans:
            _check_same_kind(field, scan, scans[0])
            scans[0].summary.merge(scan.summary)
            # its distribution has been added to that of the first
            scan = replace(scan, summary=scans[0].summary)
        scans.append(scan)
    regions, first = [scan.regions for scan in scans], scans[0]
    _check_names(first.channel_names, regions)
    _check_not_empty(fields, regions)
    _warn_binary(regions)
    _warn_pieces(fields, regions)
    _log_counts(regions)
    return Scan(
        first.channel_names,
        [scan.shape for scan in scans],
        first.dtype,
        regions,
        first.summary,
        [scan.preview for scan in scans],
        [scan.factor for scan in scans],
    )


def _scan_call(
    call: tuple[Field, Callable[[Field, tuple[int, int]], Regions], int, int, int, int],
) -> FieldScan:
    return scan_field(*call)


def scan_field(
    field: Field,
    find: Callable[[Field, tuple[int, int]], Regions],
    block: int,
    side: int,
    n_fields: int,
    seed: int,
) -> FieldScan:
    """First pass over one of `n_fields` fields; its preview has at most `side` pixels a side."""
    opened = field.open()
    pixels, dtype = opened.pixels, np.dtype(opened.pixels.dtype)
    shape = (int(pixels.shape[0]), int(pixels.shape[1]), int(pixels.shape[2]))
    names = list(opened.channel_names or ())
    found = find(field, shape[1:])
    found.close()
    factor = min(max(1, -(-max(shape[1:]) // side)), *shape[1:])
    preview = Preview(shape, factor)
    summary = ChannelSummary(shape[0], dtype, n_fields)
    strips = _strips(pixels, block, preview)
    summary.add(strips, shape[1:], np.random.default_rng(seed), field.description, names)
    return FieldScan(names, shape, dtype, found, summary, preview.mean(), factor)


def _strips(pixels: Any, block: int, preview: Preview) -> Iterator[tuple[int, np.ndarray]]:
    """Strips of an image, which go into the preview on the way."""
    for start, strip in iterate_strips(pixels, strip_rows(pixels, block)):
        preview.add(start, strip)
        yield start, strip


def region_finder(
    unit: str,
    *,
    crop_size: int,
    tile_size: int | None,
    stride: int | None,
    edge: Literal["drop", "pad"] = "drop",
    min_area: float | None = None,
    max_area: float | None = None,
) -> Callable[[Field, tuple[int, int]], Regions]:
    """How the observations of a field are found, for one of the units "label", "center", "tile", "image"."""

    def find(field: Field, shape: tuple[int, int]) -> Regions:
        if unit == "label":
            found = label_regions(field.open_labels(shape), crop_size, min_area=min_area, max_area=max_area)
            if not field.compartments or found.labels is None:
                return found
            return replace(found, compartments=match_compartments(found.labels, field.open_compartments(shape)))
        if unit == "center" and field.centers is not None:
            return center_regions(field.centers, shape, crop_size, field.description.replace("image", "centers", 1))
        if unit == "tile" and tile_size is not None:
            return tile_regions(shape, tile_size, stride or tile_size, field.description, edge=edge)
        return image_region(shape)

    return find


def _check_unique(fields: list[Field]) -> None:
    names = [field.name for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"`image`: several fields are named {twice}, so that their observations could not be told apart."
        raise ValueError(msg)


def _check_same_kind(field: Field, scan: FieldScan, first: FieldScan) -> None:
    """All fields must have the type and the channels of the first one."""
    n_channels = first.shape[0]
    if scan.shape[0] != n_channels:
        counts = f"{scan.shape[0]} channels, but the first field has {n_channels}"
        msg = f"{field.description} has {counts}; they must be equal."
        raise ValueError(msg)
    if scan.dtype != first.dtype:
        msg = f"{field.description} has dtype {scan.dtype}, but the first field has {first.dtype}; they must be equal."
        raise ValueError(msg)
    found, names = scan.channel_names or first.channel_names, first.channel_names
    if found != names:
        msg = (
            f"{field.description} has the channels {found}, but the first field has {names}. Choose them by `channels` "
            "if only their order differs, else name them by `channel_names`."
        )
        raise ValueError(msg)


def _check_names(channel_names: list[str], regions: list[Regions]) -> None:
    """Features of compartments must not be called like those of channels."""
    for part in regions[0].compartments:
        for channel in channel_names:
            if f"{part}_{channel}" in channel_names:
                msg = (
                    f"`compartments`: features of channel {channel!r} in {part!r} would be called like those of "
                    f"channel '{part}_{channel}'; rename the compartment."
                )
                raise ValueError(msg)


def _check_not_empty(fields: list[Field], regions: list[Regions]) -> None:
    empty = [field for field, found in zip(fields, regions, strict=True) if len(found) == 0]
    if not empty:
        return
    argument = "`labels`" if empty[0].labels is not None else "`centers`"
    if len(empty) == len(fields):
        what = "no label above 0" if empty[0].labels is not None else "no positions"
        n_removed = sum(found.n_removed for found in regions)
        if n_removed:
            what = f"no label left: `min_area` and `max_area` remove all {n_removed}"
        msg = f"{argument} has {what}: there is nothing to describe."
        raise ValueError(msg)
    names = [field.name for field in empty]
    msg = f"{argument}: {len(empty)} of {len(fields)} fields have no objects and contribute no rows: {names[:5]}."
    warnings.warn(msg, UserWarning, stacklevel=4)


def _log_counts(regions: list[Regions]) -> None:
    """Say what is left out, and which compartments many cells have not got."""
    n_cells, n_removed = sum(map(len, regions)), sum(found.n_removed for found in regions)
    if n_removed:
        logg.info(f"    `min_area`, `max_area`: removed {n_removed} of {n_cells + n_removed} labels")
    for name in regions[0].compartments:
        parts = [found.compartments[name] for found in regions]
        n_without = sum(int((part.counts == 0).sum()) for part in parts)
        n_unmatched = sum(part.n_unmatched for part in parts)
        logg.info(
            f"    `compartments`: {n_cells - n_without} of {n_cells} labels have {name!r}; {n_unmatched} objects are "
            "not in a label by half and are left out"
        )


def _warn_binary(regions: list[Regions]) -> None:
    binary = [found for found in regions if found.was_binary]
    if binary:
        n_objects = sum(map(len, binary))
        msg = (
            f"`labels`: {len(binary)} of {len(regions)} fields are binary masks; their {n_objects} connected "
            "components are taken as objects, so objects that touch are one. Give label images to avoid this."
        )
        warnings.warn(msg, UserWarning, stacklevel=4)


def _warn_pieces(fields: list[Field], regions: list[Regions]) -> None:
    """An id that is used twice looks like an object of several pieces; say so if there are many."""
    split: list[Any] = [np.flatnonzero(found.labels.euler > 1) if found.labels is not None else [] for found in regions]
    n_split, n_labels = sum(map(len, split)), sum(map(len, regions))
    if n_split < MIN_SPLIT or n_split <= MAX_SPLIT_SHARE * n_labels:
        return
    example = next(i for i, found in enumerate(split) if len(found))
    labels = regions[example].labels
    ids = [] if labels is None else labels.ids[split[example][:5]].tolist()
    msg = (
        f"`labels`: {n_split} of {n_labels} labels consist of several pieces, in field {fields[example].name!r} for "
        f"example {ids}. Each is taken as one object. If ids were used twice, as in tiles that were numbered on their "
        "own, number them anew first."
    )
    warnings.warn(msg, UserWarning, stacklevel=4)
