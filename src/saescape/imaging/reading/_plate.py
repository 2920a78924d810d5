"""Fields of an OME-Zarr plate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ._folder import FieldFiles
from ._opened import is_path
from ._zarr import is_zarr, ome_metadata, open_node


def plate_fields(source: Any) -> list[FieldFiles] | None:
    """Every image of every well, or None when `source` is no plate."""
    if not is_path(source) or not is_zarr(Path(source)):
        return None
    node = open_node(Path(source), "`image`")
    plate = {} if hasattr(node, "shape") else ome_metadata(node).get("plate", {})
    if not plate:
        return None
    fields = []
    for well in plate.get("wells", []):
        path = str(well["path"])
        name = path.replace("/", "")
        for image in ome_metadata(node[path])["well"]["images"]:
            site = str(image["path"])
            files: dict[str | None, list[Path]] = {None: [Path(source) / path / site]}
            fields.append(FieldFiles(f"{name}_{site}", {"well": name, "site": site}, files))
    if not fields:
        msg = f"`image`: the plate {str(source)!r} has no wells."
        raise ValueError(msg)
    return fields
