"""Which cells of a simulated experiment are imaged in which field, and which are left for RNA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saescape.simulation._design import latent_design, phenotype

if TYPE_CHECKING:
    from typing import Any

    from saescape._typing import IntArray
    from saescape.simulation._design import Design


@dataclass(frozen=True)
class Culture:
    """All cells (`design`, with their `cell_death`), those of each field, others for RNA, and each field's plate."""

    design: Design
    cells: list[IntArray]
    others: IntArray
    plate: IntArray


def plan_culture(
    n_in_field: IntArray,
    n_others: int,
    n_concepts: int,
    *,
    n_plates: int,
    n_wells: int,
    death_zeros: float,
    rng: np.random.Generator,
    **design_params: Any,
) -> Culture:
    """Give each field a well and each cell a field: fields take the wells in turn, all plates first."""
    n_all = n_plates * n_wells
    turn = np.arange(n_all).reshape(n_plates, n_wells).T.ravel()
    well = turn[np.arange(len(n_in_field)) % n_all]
    n_imaged = np.bincount(well, weights=n_in_field, minlength=n_all).astype(int)
    # the design spreads its cells evenly over the wells
    n_cells = n_all * (int(n_imaged.max()) + -(-n_others // n_all))
    biology, dying, drawing = rng.spawn(3)
    design = latent_design(n_cells, n_concepts, n_plates=n_plates, n_wells=n_wells, rng=biology, **design_params)
    design.obs["cell_death"] = phenotype(design.factor, design.concepts["role"], zeros=death_zeros, rng=dying)

    waiting = [np.flatnonzero(design.obs["well"].cat.codes.to_numpy() == w) for w in range(n_all)]
    cells = []
    for w, n in zip(well, n_in_field, strict=True):
        cells.append(waiting[w][:n])
        waiting[w] = waiting[w][n:]
    others = np.sort(drawing.permutation(np.concatenate(waiting))[:n_others])
    return Culture(design, cells, others, well // n_wells)
