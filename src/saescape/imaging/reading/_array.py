"""Open numpy, dask, xarray and zarr arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._axes import order_array
from ._opened import OpenedImage


def open_array(image: Any, axes: str | None, where: str) -> OpenedImage:
    """An array, or anything with its shape, dtype and slicing; xarray brings its axes and channel names."""
    if hasattr(image, "dims") and hasattr(image, "coords"):
        return _open_xarray(image, axes, where)
    return order_array(as_array(image), axes, where)


def as_array(image: Any) -> Any:
    """What has numpy's shape and dtype stays what it is, lazy or not; tensors and lists become numpy."""
    try:
        np.dtype(image.dtype)
    except (AttributeError, TypeError):
        return np.asarray(image)
    return image if hasattr(image, "shape") else np.asarray(image)


def _open_xarray(image: Any, axes: str | None, where: str) -> OpenedImage:
    dims = [str(dim).upper() for dim in image.dims]
    known = {"Y", "X"} <= set(dims) <= set("CZYXTS")
    opened = order_array(image.data, axes, where, "".join(dims) if known else None)
    if axes is not None or "C" not in dims or not known:
        return opened
    channel = image.dims[dims.index("C")]
    if channel not in image.coords:
        return opened
    return OpenedImage(opened.pixels, tuple(str(name) for name in image.coords[channel].to_numpy()))
