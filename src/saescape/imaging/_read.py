"""Open one image or one label image, whatever holds it, with its axes in a known order."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from saescape._logging import logg

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
IMAGE_SUFFIXES = TIFF_SUFFIXES | {".png", ".jpg", ".jpeg", ".bmp"}
# a TIFF larger than this is read block by block instead of at once
_LAZY_BYTES = 512 * 2**20
_LOOKS_LIKE_CHANNELS = 16
_LOOKS_LIKE_PIXELS = 32


@dataclass(frozen=True)
class OpenedImage:
    """Pixels as (C, Y, X) numpy or dask array, and the channel names that came with them."""

    pixels: Any
    channel_names: tuple[str, ...] | None = None


def is_path(source: object) -> bool:
    """Whether `source` names a file."""
    return isinstance(source, str | Path)


def open_image(source: Any, where: str) -> OpenedImage:
    """Open one field: path, numpy, dask or xarray array.

    Raises
    ------
    TypeError
        Pixels that are not real numbers.
    ValueError
        Axes that cannot be (C, Y, X), (Y, X) or (C, Z, Y, X).
    """
    if is_path(source):
        opened = _open_path(Path(source), where)
    elif hasattr(source, "dims") and hasattr(source, "coords"):
        opened = _open_xarray(source, where)
    else:
        pixels = source if hasattr(source, "dtype") and hasattr(source, "shape") else np.asarray(source)
        opened = OpenedImage(_to_cyx(pixels, where))
    _check_dtype(opened.pixels, where)
    if 0 in opened.pixels.shape:
        msg = f"{where} is empty: shape {tuple(opened.pixels.shape)}."
        raise ValueError(msg)
    return opened


def open_label_image(source: Any, where: str) -> np.ndarray:
    """Open one label image as a (Y, X) numpy array (its values are checked elsewhere)."""
    if is_path(source):
        path = Path(source)
        _check_file(path, where)
        if path.suffix.lower() in TIFF_SUFFIXES:
            import tifffile

            source = tifffile.imread(path)
        else:
            from skimage.io import imread

            source = imread(path)
    if hasattr(source, "compute"):
        source = source.compute()
    labels = np.asarray(source)
    while labels.ndim > 2 and labels.shape[0] == 1:
        labels = labels[0]
    if labels.ndim != 2:
        msg = f"{where} must be a (Y, X) label image, found shape {labels.shape}."
        raise ValueError(msg)
    return labels


def _check_dtype(pixels: Any, where: str) -> None:
    dtype = np.dtype(pixels.dtype)
    if dtype.kind not in "fiu":
        msg = f"{where} must hold integers or floats, found dtype {dtype}."
        raise TypeError(msg)


def _check_file(path: Path, where: str) -> None:
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        msg = f"{where} must be one of {sorted(IMAGE_SUFFIXES)}, found {str(path)!r}."
        raise ValueError(msg)
    if not path.is_file():
        msg = f"{where}: no file {str(path)!r}."
        raise FileNotFoundError(msg)


def _to_cyx(pixels: Any, where: str) -> Any:
    """Axes of an array without metadata: (Y, X), (C, Y, X) or (C, Z, Y, X); the last is projected by its maximum."""
    shape = tuple(int(n) for n in pixels.shape)
    if len(shape) == 2:
        return pixels[None]
    channels_last = (
        len(shape) == 3
        and shape[2] <= _LOOKS_LIKE_CHANNELS
        and min(shape[:2]) > _LOOKS_LIKE_PIXELS
        and shape[0] > shape[2]
    )
    if channels_last:
        msg = (
            f"{where} must be (C, Y, X), found shape {shape}, which looks like (Y, X, C). Use "
            "`np.moveaxis(image, -1, 0)`, or an `xarray.DataArray` with dims ('c', 'y', 'x') if the axes are right."
        )
        raise ValueError(msg)
    if len(shape) == 3:
        return pixels
    if len(shape) == 4:
        return pixels.max(axis=1)
    msg = f"{where} must be (Y, X), (C, Y, X) or (C, Z, Y, X), found shape {shape}."
    raise ValueError(msg)


def _open_xarray(image: Any, where: str) -> OpenedImage:
    dims = [str(dim).lower() for dim in image.dims]
    if not {"y", "x"} <= set(dims) <= {"c", "z", "y", "x"}:
        return OpenedImage(_to_cyx(image.data, where))
    order = [dim for dim in ("c", "z", "y", "x") if dim in dims]
    data = image.transpose(*[image.dims[dims.index(dim)] for dim in order]).data
    if "z" in order:
        data = data.max(axis=order.index("z"))
    names = None
    if "c" not in order:
        data = data[None]
    elif image.dims[dims.index("c")] in image.coords:
        names = tuple(str(name) for name in image.coords[image.dims[dims.index("c")]].to_numpy())
    return OpenedImage(data, names)


def _open_path(path: Path, where: str) -> OpenedImage:
    _check_file(path, where)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return _open_tiff(path, where)
    from skimage.io import imread

    pixels = imread(path)
    if pixels.ndim == 2:
        return OpenedImage(pixels[None])
    return _from_rgb(pixels, where)


def _from_rgb(pixels: Any, where: str) -> OpenedImage:
    """(Y, X, samples) of an RGB file; an alpha channel is dropped."""
    n_samples = pixels.shape[-1]
    if n_samples == 4:
        logg.info(f"{where}: dropping the alpha channel")
    if n_samples in {3, 4}:
        return OpenedImage(pixels[..., :3].transpose(2, 0, 1), ("R", "G", "B"))
    return OpenedImage(pixels.transpose(2, 0, 1))


def _open_tiff(path: Path, where: str) -> OpenedImage:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        axes, shape = series.axes, series.shape
        names = _ome_channel_names(tiff.ome_metadata or "") if tiff.is_ome else None
        lazy = prod(shape) * np.dtype(series.dtype).itemsize > _LAZY_BYTES
        pixels = None if lazy else series.asarray()
    if pixels is None:
        import dask.array as da

        pixels = da.from_zarr(tifffile.imread(path, aszarr=True, level=0, series=0))
    if len(axes) == len(shape) and axes.endswith("YXS"):
        pixels, axes = pixels.max(axis=tuple(range(len(shape) - 3))) if len(shape) > 3 else pixels, "YXS"
        return _from_rgb(pixels, where)
    return OpenedImage(_reduce_tiff_axes(pixels, axes, where), names)


def _reduce_tiff_axes(pixels: Any, axes: str, where: str) -> Any:
    """Bring TIFF axes to (C, Y, X): Z is projected; of T, I, Q ("unknown") one may stand for the channels."""
    for axis in [axis for axis in axes if axis not in "YX"]:
        position = axes.index(axis)
        if pixels.shape[position] == 1 and len(axes) > 2:
            pixels, axes = pixels.squeeze(position), axes.replace(axis, "", 1)
    if "Z" in axes and len(axes) > 2:
        pixels, axes = pixels.max(axis=axes.index("Z")), axes.replace("Z", "", 1)
    if axes == "YX":
        return pixels[None]
    if len(axes) == 3 and {"Y", "X"} <= set(axes) and "S" not in axes:
        channel = next(axis for axis in axes if axis not in "YX")
        return pixels.transpose(axes.index(channel), axes.index("Y"), axes.index("X"))
    if axes[0] == "S" and axes[1:] == "YX":
        return pixels
    msg = f"{where}: TIFF axes {axes!r} of shape {tuple(pixels.shape)} cannot be read as (C, Y, X)."
    raise ValueError(msg)


def _ome_channel_names(metadata: str) -> tuple[str, ...] | None:
    """Channel names of OME-XML, when each channel has one."""
    import tifffile

    try:
        channels = tifffile.xml2dict(metadata)["OME"]["Image"]
        channels = (channels[0] if isinstance(channels, list) else channels)["Pixels"]["Channel"]
    except (KeyError, TypeError, IndexError):
        return None
    channels = channels if isinstance(channels, list) else [channels]
    names = tuple(str(channel.get("Name", "")) for channel in channels)
    return names if all(names) and len(set(names)) == len(names) else None
