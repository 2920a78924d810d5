"""Everything that `tl.superposition_score` reports, from arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ._distances import distance_distortion
from ._geometry import dictionary_geometry, merge_duplicates
from ._interference import cell_interference, decode_rows, interference, scale_codes
from ._measures import MeasureInput, feature_table, measure_table
from ._nulls import assignment_null, n_null_cells, random_dictionary, usage_crowding, usage_null
from ._recovery import support_size
from ._reencoded import reencoded_null

if TYPE_CHECKING:
    import pandas as pd

    from saescape._typing import FloatArray, IntArray

    from ._nulls import NullResult
    from ._reencoded import Recoding


@dataclass(frozen=True)
class SuperpositionResult:
    """Score, nulls, tables; `per_cell` is the only array of the length of the cells.

    `deciding` is the null that is harder to exceed, `usage` or `reencoded`, and `deciding_name` its name.
    """

    per_cell: FloatArray
    score: float
    score_without_duplicates: float
    deciding: NullResult
    deciding_name: str
    null: dict[str, Any]
    distortion: dict[str, float | int]
    measures: pd.DataFrame
    features: pd.DataFrame
    n_null_cells: int


def superposition(
    codes: sparse.csr_matrix,
    decoder: FloatArray,
    rep: FloatArray,
    sample: IntArray,
    *,
    block_of: IntArray,
    l0: float | None,
    n_pairs: int,
    n_perms: int,
    recoding: Recoding | None,
    rng: np.random.Generator,
) -> SuperpositionResult:
    """Measure codes `(n, m)` with their decoder `(m, d)`.

    Parameters
    ----------
    rep
        Representation of the cells in `sample`, positions pooled.
    sample
        Cells that distances, neighbours and the spectrum are computed on.
    block_of
        Number of the block of each cell.
    l0
        Active features per row that was encoded; None for that of `codes`.
    recoding
        Sample to code again; None leaves that null out.
    """
    scaled, unit = scale_codes(codes, decoder)
    n_active = np.bincount(scaled.indices, minlength=scaled.shape[1])
    alive = n_active > 0
    scaled, unit_alive = sparse.csr_matrix(scaled[:, alive]), unit[alive]
    l0 = scaled.nnz / scaled.shape[0] if l0 is None else l0
    size = support_size(len(unit_alive), l0)
    observed, geometry = interference(scaled, unit_alive), dictionary_geometry(unit_alive, (size, size - 1))
    merged = observed
    if geometry.duplicate.any():
        merged = interference(*merge_duplicates(scaled, unit_alive, geometry.duplicate_group))

    # one stream per part, so that one of them can change its draws without changing the others
    pair_rng, cell_rng, usage_rng, assignment_rng, recode_rng, measure_rng = rng.spawn(6)
    n_cells = n_null_cells(scaled, n_perms)
    cells = np.arange(scaled.shape[0])
    if n_cells < len(cells):
        cells = np.sort(cell_rng.choice(len(cells), n_cells, replace=False))
    blocks = np.unique(block_of[cells], return_inverse=True)[1]
    usage = usage_null(scaled[cells], unit_alive, blocks, crowding=observed.crowding, n_perms=n_perms, rng=usage_rng)
    assigned = assignment_null(
        scaled[cells], unit_alive, crowding=observed.crowding, n_perms=n_perms, rng=assignment_rng
    )
    mean, sd = random_dictionary(observed, decoder.shape[1])
    null: dict[str, Any] = {
        "usage": usage.as_dict(),
        "assignment": assigned.as_dict(),
        "random_dictionary": {"mean": mean, "sd": sd, "z": (observed.score - mean) / sd if sd > 0 else float("nan")},
        "orthonormal": {"mean": 0.0, "sd": 0.0},
    }
    deciding, deciding_name = usage, "usage"
    if recoding is not None:
        blocks = np.unique(block_of[recoding.cells], return_inverse=True)[1]
        reencoded = reencoded_null(recoding, blocks, score=observed.score, rng=recode_rng)
        null["reencoded"] = reencoded.as_dict()
        if (reencoded.pvalue, -reencoded.z) >= (usage.pvalue, -usage.z):
            deciding, deciding_name = reencoded, "reencoded"
    here = scaled[sample]
    measures = measure_table(
        MeasureInput(
            scaled=scaled,
            unit=unit_alive,
            geometry=geometry,
            observed=observed,
            n_features=len(alive),
            l0=l0,
            size=size,
            usage_crowding=usage_crowding(scaled, block_of),
            here=here,
            rep=rep,
        ),
        measure_rng,
    )
    energies = np.asarray(scaled.multiply(scaled).sum(0)).ravel() / scaled.shape[0]
    norms = np.linalg.norm(np.asarray(decoder, dtype=np.float64), axis=1)
    return SuperpositionResult(
        per_cell=cell_interference(scaled, unit_alive),
        score=observed.score,
        score_without_duplicates=merged.score,
        deciding=deciding,
        deciding_name=deciding_name,
        null=null,
        distortion=distance_distortion(here, decode_rows(here, unit_alive), rep, n_pairs=n_pairs, rng=pair_rng),
        measures=measures,
        features=feature_table(alive, norms, energies, n_active / scaled.shape[0], geometry, observed),
        n_null_cells=n_cells,
    )
