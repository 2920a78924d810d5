"""Which observations `image_to_adata` was asked for, checked before any pixel is read."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from saescape._validate import check_choice


def check_edge(edge: str, tile_size: int | None) -> str:
    """Check what becomes of incomplete tiles."""
    check_choice("edge", edge, ["drop", "pad"])
    if edge == "pad" and tile_size is None:
        msg = "`edge='pad'` keeps incomplete tiles and needs `tile_size`."
        raise ValueError(msg)
    return edge


def check_areas(min_area: float | None, max_area: float | None, *, has_labels: bool) -> None:
    """Check the limits of the area of labels."""
    for name, area in (("min_area", min_area), ("max_area", max_area)):
        if area is None:
            continue
        if isinstance(area, bool) or not isinstance(area, Real):
            msg = f"`{name}` must be a number of pixels or None, found {area!r}."
            raise TypeError(msg)
        # also false for nan
        if not area > 0:
            msg = f"`{name}` must be above 0 pixels, found {area!r}."
            raise ValueError(msg)
        if not has_labels:
            msg = f"`{name}` is about the area of labels and needs `labels` (or `labels_key`)."
            raise ValueError(msg)
    if min_area is not None and max_area is not None and min_area > max_area:
        msg = f"`min_area` ({min_area}) must not be above `max_area` ({max_area})."
        raise ValueError(msg)


def check_compartments(compartments: Any, *, has_labels: bool) -> dict[str, Any]:
    """Check the names of the `compartments` argument, and that there is something to take the rest of.

    Raises
    ------
    TypeError
        Not a dict with names as keys.
    ValueError
        No labels to match with, an empty dict, a name that cannot be that of a column, or "rest" without others.
    """
    from saescape.imaging._compartments import REST

    if compartments is None:
        return {}
    if not isinstance(compartments, Mapping) or not all(isinstance(name, str) for name in compartments):
        msg = f"`compartments` must be a dict of names and label images, found {type(compartments).__name__}."
        raise TypeError(msg)
    if not has_labels:
        msg = "`compartments` are parts of labels and need `labels` (or `labels_key`)."
        raise ValueError(msg)
    bad = [name for name in compartments if not name or "/" in name]
    if bad or not compartments:
        msg = f"`compartments` needs names without a slash, e.g. {{'nucleus': nuclei}}; found {list(compartments)}."
        raise ValueError(msg)
    rest = [name for name, source in compartments.items() if isinstance(source, str) and source == REST]
    if len(rest) > 1 or len(rest) == len(compartments):
        msg = f'`compartments`: "rest" is the label without other compartments; give one beside others, not as {rest}.'
        raise ValueError(msg)
    return dict(compartments)
