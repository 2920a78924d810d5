"""Where the results of tasks are gathered: in memory, or in a zarr store that an interrupted run continues."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from saescape._logging import logg
from saescape._memory import available_memory

if TYPE_CHECKING:
    from os import PathLike

    from saescape._typing import FloatArray

    from ._measure import Measures
    from ._tasks import Task

FORMAT = 1
_KIND = "saescape.image_to_adata"
# bytes of one chunk of the arrays on disk
_CHUNK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Measured:
    """Everything in the order of the observations: `tokens` (n, positions, d) may be a dask array on disk."""

    values: FloatArray
    quality: FloatArray | None
    grid: tuple[int, int] | None = None
    tokens: Any = None


class Results(Protocol):
    """Takes the measures of tasks in any order."""

    def missing(self, tasks: list[Task]) -> list[Task]:
        """Tasks that are still to be done."""

    def add(self, task: Task, measures: Measures) -> None:
        """Keep the measures of a task."""

    def finish(self) -> Measured:
        """All measures, in the order of the observations."""


class MemoryResults:
    """Results in memory."""

    def __init__(self, n_obs: int) -> None:
        self.n_obs = n_obs
        self.arrays: dict[str, np.ndarray] = {}
        self.grid: tuple[int, int] | None = None

    def missing(self, tasks: list[Task]) -> list[Task]:
        return tasks

    def add(self, task: Task, measures: Measures) -> None:
        parts = _parts(measures)
        if not self.arrays:
            self.grid = measures.grid
            if measures.tokens is not None:
                _check_fits(self.n_obs, measures.tokens)
            self.arrays = {name: np.empty((self.n_obs, *part.shape[1:]), part.dtype) for name, part in parts.items()}
        for name, part in parts.items():
            check_same(name, part.shape[1:], self.arrays[name].shape[1:])
            self.arrays[name][measures.rows] = part

    def finish(self) -> Measured:
        return Measured(self.arrays["values"], self.arrays.get("quality"), self.grid, self.arrays.get("tokens"))


class StoredResults:
    """Results in a zarr group, with the tasks that are done.

    Parameters
    ----------
    path
        Folder of the group; it is continued if it exists.
    identity
        What the results depend on, as plain values. What is stored must say the same.
    n_obs, n_tasks
        Number of observations and of tasks.

    Raises
    ------
    ValueError
        When the folder is something else, or belongs to another call.
    """

    def __init__(self, path: str | PathLike[str], identity: dict[str, Any], n_obs: int, n_tasks: int) -> None:
        import zarr

        self.path, self.n_obs = Path(path), n_obs
        identity = json.loads(json.dumps(identity))
        exists = self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))
        if exists:
            self.group = _open_existing(self.path)
            _check_identity(self.path, dict(self.group.attrs["identity"]), identity)
        else:
            self.group = zarr.open_group(self.path, mode="w")
            self.group.create_array("done", shape=(n_tasks,), dtype=bool)
            self.group.attrs.update({"kind": _KIND, "format": FORMAT, "identity": identity})
        self.done = self.group["done"][:]

    def missing(self, tasks: list[Task]) -> list[Task]:
        left = [task for task in tasks if not self.done[task.number]]
        if len(left) < len(tasks):
            logg.info(f"    {len(tasks) - len(left)} of {len(tasks)} tasks are done in {str(self.path)!r}")
        return left

    def add(self, task: Task, measures: Measures) -> None:
        parts = _parts(measures)
        for name, part in parts.items():
            if name not in self.group:
                n_rows = max(1, _CHUNK_BYTES // max(1, part[:1].nbytes))
                self.group.create_array(
                    name,
                    shape=(self.n_obs, *part.shape[1:]),
                    chunks=(min(n_rows, self.n_obs), *part.shape[1:]),
                    dtype=part.dtype,
                )
            array = self.group[name]
            check_same(name, part.shape[1:], array.shape[1:])
            # consecutive rows are one write
            order = np.argsort(measures.rows, kind="stable")
            rows = measures.rows[order]
            edges = np.flatnonzero(np.diff(rows) != 1) + 1
            for run in np.split(order, edges):
                start = int(measures.rows[run[0]])
                array[start : start + len(run)] = part[run]
        if measures.grid is not None:
            self.group.attrs["grid"] = list(measures.grid)
        # last, so that a task that was interrupted is done again
        self.group["done"][task.number] = True
        self.done[task.number] = True

    def finish(self) -> Measured:
        grid: Any = self.group.attrs.get("grid")
        tokens = None
        if "tokens" in self.group:
            import dask.array as da

            tokens = da.from_zarr(self.group["tokens"])
        return Measured(
            self.group["values"][:],
            self.group["quality"][:] if "quality" in self.group else None,
            None if grid is None else (int(grid[0]), int(grid[1])),
            tokens,
        )


def check_same(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise when an encoder changes its mind about the shape of its output."""
    if found == expected:
        return
    if name == "tokens":
        msg = (
            f"`tokens=True` needs maps of one size; `encoder` returned {found} positions and dimensions after "
            f"{expected}. Give images of one shape or `tile_size`."
        )
    else:
        msg = f"`encoder` returned {found} after {expected} for earlier crops."
    raise ValueError(msg)


def _parts(measures: Measures) -> dict[str, np.ndarray]:
    found = {"values": measures.values, "quality": measures.quality, "tokens": measures.tokens}
    return {name: part for name, part in found.items() if part is not None}


def _check_fits(n_obs: int, tokens: np.ndarray) -> None:
    shape = (n_obs, *tokens.shape[1:])
    n_bytes = tokens.itemsize * math.prod(shape)
    logg.info(f"    tokens {shape} take {n_bytes / 2**30:.3g} GiB")
    available = available_memory()
    if available is not None and n_bytes > available:
        msg = (
            f"`tokens=True` needs {n_bytes / 2**30:.1f} GiB for {shape} float32 values, but "
            f"{available / 2**30:.1f} GiB are available; give `store=`, a folder in which they are kept on disk."
        )
        raise MemoryError(msg)


def _open_existing(path: Path) -> Any:
    import zarr

    where = f"`store={str(path)!r}`"
    try:
        group = zarr.open_group(path, mode="r+")
    except (OSError, ValueError, TypeError) as error:
        msg = f"{where} is no zarr group ({error}); give another path, or delete it to start anew."
        raise ValueError(msg) from error
    if group.attrs.get("kind") != _KIND or "done" not in group:
        msg = f"{where} was not written by `sae.pp.image_to_adata`; give another path."
        raise ValueError(msg)
    if int(str(group.attrs["format"])) > FORMAT:
        msg = f"{where} has format {group.attrs['format']}, this saescape reads up to {FORMAT}; update it."
        raise ValueError(msg)
    return group


def _check_identity(path: Path, stored: dict[str, Any], identity: dict[str, Any]) -> None:
    different = sorted(name for name in {*stored, *identity} if stored.get(name) != identity.get(name))
    if different:
        pairs = ", ".join(f"`{name}`" for name in different)
        msg = (
            f"`store={str(path)!r}` belongs to another call: {pairs} differ. Call with the same images and arguments, "
            "give another path, or delete it to start anew."
        )
        raise ValueError(msg)
