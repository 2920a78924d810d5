"""Bring the axes of an array to (C, Y, X)."""

from __future__ import annotations

from typing import Any

import numpy as np

from saescape._logging import logg

from ._channels import take
from ._lazy import OrderedAxes
from ._opened import RGB_NAMES, OpenedImage

_LETTERS = "CZYXTS"
_LOOKS_LIKE_CHANNELS = 16
_LOOKS_LIKE_PIXELS = 32


def check_axes(axes: str | None) -> str | None:
    """Declared axes in capitals."""
    if axes is None:
        return None
    if not isinstance(axes, str):
        msg = f"`axes` must be a string such as 'CYX', found {type(axes).__name__}."
        raise TypeError(msg)
    found = axes.upper()
    if not {"Y", "X"} <= set(found) <= set(_LETTERS) or len(set(found)) != len(found):
        msg = f"`axes` must name Y, X and any of C, Z, T, S (colour samples), each once, e.g. 'YXC'; found {axes!r}."
        raise ValueError(msg)
    return found


def order_array(array: Any, axes: str | None, where: str, found: str | None = None) -> OpenedImage:
    """(C, Y, X) of an array with declared axes, else those `found` in its metadata, else guessed from its shape."""
    shape = tuple(int(n) for n in array.shape)
    if axes is not None and len(axes) != len(shape):
        known = f", in its metadata {found!r}" if found else ""
        msg = f"`axes={axes!r}` names {len(axes)} axes, but {where} has {len(shape)}: shape {shape}{known}."
        raise ValueError(msg)
    letters = axes or found or _guessed(shape, where)
    kept = "".join(axis for axis, n in zip(letters, shape, strict=True) if n > 1 or axis in "YX")
    others = [axis for axis in kept if axis not in "ZYX"]
    if len(others) > 1 or (axes is not None and "T" in others) or not {"Y", "X"} <= set(kept):
        msg = (
            f"{where}: axes {letters!r} of shape {shape} cannot be read as (C, Y, X). Give `axes`, or one field per "
            "time point or position."
        )
        raise ValueError(msg)
    channel = others[0] if others else None
    if channel is None:
        # a channel axis of length 1 is as good as none
        channel = next((axis for axis in letters if axis in "CS"), None)
    if channel is not None and channel not in "CS":
        logg.info(f"{where}: axis {channel!r} of length {shape[letters.index(channel)]} is taken as channels")
    pixels = _reordered(array, letters, channel)
    if channel == "S" and pixels.shape[0] in {3, 4}:
        if pixels.shape[0] == 4:
            logg.info(f"{where}: dropping the alpha channel")
        return OpenedImage(take(pixels, [0, 1, 2]), RGB_NAMES)
    return OpenedImage(pixels)


def _reordered(array: Any, letters: str, channel: str | None) -> Any:
    """Numpy without projection and dask stay what they are; all else is read when it is sliced."""
    is_dask = hasattr(array, "dask")
    deep = "Z" in letters and array.shape[letters.index("Z")] > 1
    in_memory = type(array) is np.ndarray and array.dtype.isnative
    if not is_dask and (deep or not in_memory):
        return OrderedAxes(array, letters, channel)
    keep = [axis for axis in letters if axis in "ZYX" or axis == channel]
    array = array[tuple(slice(None) if axis in keep else 0 for axis in letters)]
    if "Z" in keep:
        array = array.max(axis=keep.index("Z"))
        keep.remove("Z")
    if channel is None:
        array, keep = array[None], ["", *keep]
    return array.transpose([keep.index(axis) for axis in (channel or "", "Y", "X")])


def _guessed(shape: tuple[int, ...], where: str) -> str:
    """Axes of an array without metadata: (Y, X), (C, Y, X) or (C, Z, Y, X)."""
    channels_last = (
        len(shape) == 3
        and shape[2] <= _LOOKS_LIKE_CHANNELS
        and min(shape[:2]) > _LOOKS_LIKE_PIXELS
        and shape[0] > shape[2]
    )
    if channels_last:
        msg = (
            f"{where} must be (C, Y, X), found shape {shape}, which looks like (Y, X, C). Give `axes='YXC'` or use "
            "`np.moveaxis(image, -1, 0)`; give `axes='CYX'` if the axes are right."
        )
        raise ValueError(msg)
    if not 2 <= len(shape) <= 4:
        msg = f"{where} must be (Y, X), (C, Y, X) or (C, Z, Y, X), found shape {shape}; give `axes` for another order."
        raise ValueError(msg)
    return {2: "YX", 3: "CYX", 4: "CZYX"}[len(shape)]
