"""Size and units of crops as an encoder was made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from saescape._validate import check_integer

if TYPE_CHECKING:
    from ._source import Source


def check_size(size: Any) -> tuple[int, int] | None:
    """Height and width; one number stands for both."""
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(sides) != 2:
        msg = f"`input_size` must be one side, or height and width, found {size!r}."
        raise ValueError(msg)
    return check_integer("input_size", sides[0]), check_integer("input_size", sides[1])


def check_normalisation(
    mean: Any, std: Any, source: Source, in_channels: int | None
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and SD, one value or one per input channel; those of the source where both are None."""
    if mean is None and std is None:
        return source.mean, source.std
    checked = []
    for name, values, default in (("mean", mean, 0.0), ("std", std, 1.0)):
        found = np.atleast_1d(np.asarray(default if values is None else values, dtype=float))
        if found.ndim != 1 or not np.isfinite(found).all() or (name == "std" and (found <= 0).any()):
            what = "positive numbers" if name == "std" else "numbers"
            msg = f"`{name}` must be finite {what}, found {values!r}."
            raise ValueError(msg)
        if in_channels is not None and len(found) not in {1, in_channels}:
            msg = f"`{name}` must be one number or {in_channels} (channels of the encoder), found {len(found)}."
            raise ValueError(msg)
        checked.append(tuple(found.tolist()))
    return checked[0], checked[1]


def prepared(crops: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
    """Crops of the size that the encoder takes."""
    if size is None or tuple(crops.shape[2:]) == size:
        return crops
    return interpolate(crops, size, mode="bilinear", antialias=True, align_corners=False)


def normalised(crops: torch.Tensor, mean: Sequence[float] | None, std: Sequence[float] | None) -> torch.Tensor:
    """(crops - mean) / std per channel."""
    if mean is None or std is None:
        return crops
    centre, scale = (torch.tensor(one, dtype=crops.dtype, device=crops.device)[:, None, None] for one in (mean, std))
    if len(mean) not in {1, crops.shape[1]} or len(std) not in {1, crops.shape[1]}:
        msg = (
            f"`mean` and `std` have {max(len(mean), len(std))} values, but the encoder gets {crops.shape[1]} channels; "
            "choose as many by `channels`."
        )
        raise ValueError(msg)
    return (crops - centre) / scale
