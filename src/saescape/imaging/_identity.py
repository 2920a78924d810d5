"""What the result of a run depends on, so that a store is not continued by another one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ._compartments import Compartment

if TYPE_CHECKING:
    from ._fields import Field
    from ._regions import Regions
    from ._scan import Scan
    from ._tasks import Task


def run_identity(fields: list[Field], scan: Scan, tasks: list[Task], params: dict[str, Any]) -> dict[str, Any]:
    """Plain values: the parameters, and digests of the pixels, of the observations and of how they are cut up."""
    return {
        # thumbnails are made afterwards
        **{name: value for name, value in params.items() if name != "thumbnails"},
        "fields": [field.name for field in fields],
        "channel_names": list(scan.channel_names),
        "shapes": [list(shape) for shape in scan.shapes],
        "pixels": _digest(*scan.previews, *scan.summary.distribution()),
        "observations": _digest(
            *(part for found in scan.regions for part in (found.ids, found.boxes, found.area, found.spatial))
        ),
        "compartments": _digest(*(array for found in scan.regions for array in _of_compartments(found))),
        "tasks": _digest(*(task.rows for task in tasks)),
    }


def _of_compartments(found: Regions) -> list[np.ndarray]:
    arrays = []
    for part in found.compartments.values():
        arrays += [part.counts, *([part.labels.area, part.labels.boxes] if isinstance(part, Compartment) else [])]
    return arrays


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
