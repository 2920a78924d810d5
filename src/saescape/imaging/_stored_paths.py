"""Paths that come out of a file, which are not trusted."""

from __future__ import annotations

from pathlib import Path

from .reading._files import IMAGE_SUFFIXES
from .reading._zarr import is_zarr


def resolve(stored: str, folder: str | Path | None) -> Path:
    """The file a stored path stands for; with `folder`, a file inside it and nowhere else."""
    path = Path(stored)
    if folder is None:
        return _checked(path, stored)
    root = Path(folder).resolve()
    inside = _below(root, path) if path.is_absolute() else (root / path).resolve()
    if not inside.is_relative_to(root):
        msg = f"stored path {stored!r} leads out of `folder` ({str(folder)!r})."
        raise ValueError(msg)
    return _checked(inside, stored)


def _checked(path: Path, stored: str) -> Path:
    if path.suffix.lower() in IMAGE_SUFFIXES or any(one.lower().endswith(".zarr") for one in path.parts):
        return path
    if is_zarr(path):
        return path
    msg = f"stored path {stored!r} is not an image file ({sorted(IMAGE_SUFFIXES)}) or a zarr store."
    raise ValueError(msg)


def _below(root: Path, path: Path) -> Path:
    """The longest end of an absolute path that exists below `root`; the end of a zarr store begins with its name."""
    parts = path.parts[1:]
    stores = [i for i, part in enumerate(parts) if part.lower().endswith(".zarr")]
    shortest = stores[0] if stores else len(parts) - 1
    candidates = [(root / Path(*parts[start:])).resolve() for start in range(shortest + 1)]
    return next((one for one in candidates if one.exists()), candidates[-1])
