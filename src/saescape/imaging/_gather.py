"""All fields of a call, whatever kind of input it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._collect import collect_fields
from ._field_obs import check_obs
from ._fields import clean_name
from ._spatialdata import is_spatialdata, spatialdata_fields
from .reading._axes import check_axes
from .reading._channels import check_channels
from .reading._levels import check_scale
from .reading._opened import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._fields import Field


def gather_fields(
    image: Any,
    labels: Any,
    *,
    centers: Any = None,
    region: str = "image",
    channel_names: Sequence[str] | None = None,
    channels: Any = None,
    axes: str | None = None,
    pattern: str | None = None,
    labels_pattern: str | None = None,
    image_key: Any = None,
    labels_key: Any = None,
    scale: int | str | None = None,
    coordinate_system: str | None = None,
    obs: Any = None,
    compartments: Mapping[str, Any] | None = None,
) -> list[Field]:
    """Check how images are to be read, and pair them with labels, positions and what is known about them."""
    obs_table = check_obs(obs, compartments or {})
    reading = Reading(
        check_axes(axes),
        check_scale(scale),
        None if channel_names is None else tuple(channel_names),
        check_channels(channels),
    )
    if is_spatialdata(image):
        given = {"labels": labels, "pattern": pattern, "labels_pattern": labels_pattern, "axes": axes}
        wrong = [name for name, value in given.items() if value is not None]
        if wrong:
            msg = f"`{wrong[0]}` does not go with a SpatialData: name its labels by `labels_key`, its axes are known."
            raise ValueError(msg)
        return spatialdata_fields(
            image,
            image_key,
            labels_key,
            centers,
            reading=reading,
            coordinate_system=coordinate_system,
            compartments=compartments,
            obs=obs_table,
        )
    keys = {"image_key": image_key, "labels_key": labels_key, "coordinate_system": coordinate_system}
    wrong = [name for name, value in keys.items() if value is not None]
    if wrong:
        msg = f"`{wrong[0]}` needs a SpatialData, found {type(image).__name__}."
        raise TypeError(msg)
    return collect_fields(
        image,
        labels,
        centers,
        clean_name(region),
        reading=reading,
        pattern=pattern,
        labels_pattern=labels_pattern,
        compartments=compartments,
        obs=obs_table,
    )
