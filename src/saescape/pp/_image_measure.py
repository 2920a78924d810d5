"""Second pass over all fields: from the observations that were found to a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from os import PathLike

    from saescape.imaging._fields import Field
    from saescape.imaging._measure import Encoding, NamedFeatures
    from saescape.imaging._results import Measured
    from saescape.imaging._scan import Scan


@dataclass(frozen=True)
class Work:
    """What is measured, and the names of its columns where they are known before."""

    measure: NamedFeatures | Encoding
    names: list[str] | None
    block: int
    store: str | PathLike[str] | None


def measure_fields(
    fields: list[Field], scan: Scan, work: Work, params: dict[str, Any], *, progress: bool
) -> tuple[Measured, list[str]]:
    """Measure all observations; returns the matrix with what comes beside it, and the names of its columns.

    `params` identify the run when it is stored.
    """
    from saescape.imaging._identity import run_identity
    from saescape.imaging._results import MemoryResults, StoredResults
    from saescape.imaging._run import run_tasks
    from saescape.imaging._tasks import plan_tasks

    measure = work.measure
    tasks = plan_tasks(scan.regions, scan.shapes, work.block, crops=measure.crops)
    n_obs = sum(map(len, scan.regions))
    results: MemoryResults | StoredResults
    if work.store is None:
        results = MemoryResults(n_obs)
    else:
        results = StoredResults(work.store, run_identity(fields, scan, tasks, params), n_obs, len(tasks))
    measured = run_tasks(fields, scan.regions, tasks, measure, results, progress=progress)
    if work.names is not None:
        return measured, work.names
    from saescape.imaging.encoders._resolve import dimension_names

    return measured, dimension_names(getattr(measure, "encoder", None), None, measured.values.shape[1])
