"""Kinds of files, told by their names."""

from __future__ import annotations

from pathlib import Path

from ._zarr import is_zarr

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
IMAGE_SUFFIXES = TIFF_SUFFIXES | {".png", ".jpg", ".jpeg", ".bmp"}


def check_file(source: str | Path, where: str) -> Path:
    """An image file or a zarr folder that exists."""
    if "://" in str(source):
        msg = (
            f"{where} must lie in the file system, found {str(source)!r}; open it with zarr or dask and give the array."
        )
        raise ValueError(msg)
    path = Path(source)
    if is_zarr(path):
        return path
    if path.suffix.lower() not in IMAGE_SUFFIXES | {".zarr"}:
        kind = "a folder without zarr metadata" if path.is_dir() else f"{str(path)!r}"
        msg = (
            f"{where} must be one of {sorted(IMAGE_SUFFIXES)} or an OME-Zarr, found {kind}. Convert other formats to "
            "OME-TIFF or OME-Zarr, or read them with the package of their maker and give the array."
        )
        raise ValueError(msg)
    if path.suffix.lower() == ".zarr" or not path.is_file():
        msg = f"{where}: no file {str(path)!r}."
        raise FileNotFoundError(msg)
    return path
