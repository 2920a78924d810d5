"""What `image_to_adata` was asked for, checked before any pixel is read."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._logging import logg
from saescape._validate import check_choice, check_integer, string_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape.imaging._scaling import Scaling
    from saescape.imaging._scan import Scan

ENCODERS = ("features", "filters")


def check_unit(
    labels: Any,
    centers: Any,
    tile_size: int | None,
    stride: int | None,
    crop_size: int,
    encoder: Any,
    pool: str,
    normalize: str | None,
) -> str:
    """Check what needs no pixels; returns what a row is."""
    given = {"label": labels is not None, "center": centers is not None, "tile": tile_size is not None}
    if sum(given.values()) > 1:
        msg = "`labels`, `centers` and `tile_size` exclude each other; give one of them (or none: one row per image)."
        raise ValueError(msg)
    check_integer("crop_size", crop_size, 2)
    if tile_size is not None:
        check_integer("tile_size", tile_size, 2)
    if stride is not None:
        check_integer("stride", stride)
        if tile_size is None:
            msg = "`stride` is the distance between tiles and needs `tile_size`."
            raise ValueError(msg)
    check_choice("pool", pool, ["mean", "max"])
    check_choice("normalize", normalize, ["percentile", "dtype", "none", None])
    _check_encoder(encoder)
    return next((unit for unit, present in given.items() if present), "image")


def check_channel_names(channel_names: Sequence[str] | None) -> list[str] | None:
    if channel_names is None:
        return None
    if isinstance(channel_names, str):
        msg = f"`channel_names` must be a sequence of names, found the string {channel_names!r}."
        raise TypeError(msg)
    names = [str(name).replace("/", "_") for name in channel_names]
    if len(set(names)) != len(names):
        msg = f"`channel_names` must be unique, found {names}."
        raise ValueError(msg)
    return names


def check_families(features: Sequence[str] | None) -> tuple[str, ...] | None:
    """Families of named features in their fixed order."""
    if features is None:
        return None
    from saescape.imaging._features import FAMILIES

    wanted = string_list("features", features)
    unknown = [name for name in wanted if name not in FAMILIES]
    if unknown or not wanted:
        msg = f"`features` must be some of {list(FAMILIES)}, found {unknown or 'none'}."
        raise ValueError(msg)
    return tuple(name for name in FAMILIES if name in wanted)


def _check_encoder(encoder: Any) -> None:
    if isinstance(encoder, str):
        # a path or the name of a model of timm
        if not encoder.startswith("timm:") and "." not in encoder:
            check_choice("encoder", encoder, ENCODERS)
    elif not callable(encoder) and not isinstance(encoder, PathLike):
        msg = (
            f"`encoder` must be one of {list(ENCODERS)}, a torch module, a callable or the path of a file, found "
            f"{type(encoder).__name__}."
        )
        raise TypeError(msg)


def log_padded(scan: Scan, crop_size: int) -> None:
    """Say which images are smaller than a crop."""
    n_small = sum(crop_size > min(shape[1:]) for shape in scan.shapes)
    if n_small:
        logg.warning(
            f"`crop_size={crop_size}` is larger than {n_small} of {len(scan.shapes)} images; crops are padded with 0"
        )


def log_clipped(scan: Scan, crop_size: int) -> None:
    """Say how many labels do not fit into their crop."""
    sides = np.concatenate([(found.boxes[:, 2:] - found.boxes[:, :2]).max(1, initial=0) for found in scan.regions])
    n_clipped = int((sides > crop_size).sum())
    if n_clipped:
        enough = int(np.quantile(sides, 0.99))
        logg.warning(f"{n_clipped} of {len(sides)} labels are larger than their crop; `crop_size={enough}` holds 99 %")


def scaling_of(normalize: str | None, percentile: Scaling, scan: Scan) -> Scaling | None:
    from saescape.imaging._scaling import dtype_scaling

    if normalize == "percentile":
        return percentile
    return dtype_scaling(scan.dtype, len(scan.channel_names)) if normalize == "dtype" else None
