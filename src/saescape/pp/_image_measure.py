"""Second pass over all fields: from the observations that were found to a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from os import PathLike

    from saescape.imaging._fields import Field
    from saescape.imaging._measure import Encoding, NamedFeatures
    from saescape.imaging._results import Measured
    from saescape.imaging._scan import Scan


def measure_fields(
    fields: list[Field],
    scan: Scan,
    measure: NamedFeatures | Encoding,
    *,
    block: int,
    store: str | PathLike[str] | None,
    params: dict[str, Any],
    progress: bool,
) -> Measured:
    """Measure all observations in blocks of `block` pixels a side; `params` identify the run when it is stored."""
    from saescape.imaging._identity import run_identity
    from saescape.imaging._results import MemoryResults, StoredResults
    from saescape.imaging._run import run_tasks
    from saescape.imaging._tasks import plan_tasks

    tasks = plan_tasks(scan.regions, scan.shapes, block, crops=measure.crops)
    n_obs = sum(map(len, scan.regions))
    results: MemoryResults | StoredResults
    if store is None:
        results = MemoryResults(n_obs)
    else:
        results = StoredResults(store, run_identity(fields, scan, tasks, params), n_obs, len(tasks))
    return run_tasks(fields, scan.regions, tasks, measure, results, progress=progress)
