"""Which cells, phenotypes and permutations every representation is measured with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from saescape._random import child_seed

from ._folds import folds
from ._permutations import Permutations, log10_arrangements, permutation_unit
from ._phenotype import varies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import IntArray

    from ._phenotype import Phenotype

# fewer ways to deal values to batches cannot reach p = .05
_MIN_ARRANGEMENTS = 20


@dataclass(frozen=True)
class Cells:
    """Rows of one group whose phenotypes in `measured` are known, with the permutations of each phenotype.

    `fold_of` is None when the rows belong to a single batch, and `elsewhere` whether neighbours are to be found in
    other folds for predictions.
    """

    group: str
    rows: IntArray
    fold_of: IntArray | None
    elsewhere: bool
    permutations: Permutations
    measured: list[tuple[Phenotype, Permutations]] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What is measured, and what the user has to be told."""

    cells: list[Cells]
    messages: list[str]
    n_dropped: dict[str, int]


def make_plan(
    groups: dict[str, IntArray],
    phenotypes: Sequence[Phenotype],
    batch_of: IntArray | None,
    *,
    batch_key: str | None,
    max_k: int,
    n_perms: int,
    rng: np.random.Generator,
) -> Plan:
    """Decide once for all representations, so that the same permutations are used for each.

    Parameters
    ----------
    groups
        Rows of each group.
    phenotypes
        Phenotypes of all rows.
    batch_of
        Batch of each row, from 0.
    batch_key
        Name of the batches; a phenotype of this name cannot be tested against itself.
    max_k
        Groups need more rows than this.
    n_perms
        Permutations.
    rng
        Draws the seed of each set of cells.
    """
    plan = Plan([], [], {})
    small, constant = [], []
    for group, rows in groups.items():
        if len(rows) <= max_k:
            small.append(f"{group!r} ({len(rows)})")
            continue
        by_mask: dict[bytes, Cells] = {}
        # the first set of cells is the group as a whole
        for phenotype in (None, *phenotypes):
            known = rows if phenotype is None else rows[phenotype.known[rows]]
            if phenotype is not None:
                plan.n_dropped[phenotype.name] = int(np.sum(~phenotype.known))
                if len(known) <= max_k:
                    small.append(f"{group!r} with {phenotype.name!r} ({len(known)})")
                    continue
                if not varies(phenotype.values[known]):
                    constant.append(f"{phenotype.name!r} in {group!r}")
                    continue
            cells = by_mask.get(known.tobytes())
            if cells is None:
                cells = _cells(group, known, batch_of, n_perms, rng)
                by_mask[known.tobytes()] = cells
                plan.cells.append(cells)
            if phenotype is not None:
                cells.measured.append((phenotype, _permutations(phenotype, cells, batch_key, plan.messages)))
        single = next(iter(by_mask.values()))
        if single.fold_of is None:
            plan.messages.append(
                f"Group {group!r} has a single batch: nothing can be held out, and `ridge_r2`, `probe_accuracy`, "
                "`knn_r2` and `knn_accuracy` are left out."
            )
    if small:
        plan.messages.append(
            f"Groups with no more observations than the largest number of neighbours ({max_k}) are left out: "
            f"{', '.join(small)}."
        )
    if constant:
        plan.messages.append(f"Phenotypes that do not vary in a group are left out there: {', '.join(constant)}.")
    return plan


def _cells(group: str, rows: IntArray, batch_of: IntArray | None, n_perms: int, rng: np.random.Generator) -> Cells:
    blocks = np.zeros(len(rows), dtype=np.int64)
    if batch_of is not None:
        blocks = np.unique(batch_of[rows], return_inverse=True)[1].ravel()
    fold_of = folds(len(rows), None if batch_of is None else blocks)
    permutations = Permutations(blocks, "cells", n_perms, child_seed(rng))
    return Cells(group, rows, fold_of, batch_of is not None, permutations)


def _permutations(phenotype: Phenotype, cells: Cells, batch_key: str | None, messages: list[str]) -> Permutations:
    free = cells.permutations
    values = phenotype.values[cells.rows]
    unit = permutation_unit(values, free.block_of, labels=phenotype.n_labels > 0)
    if phenotype.name == batch_key:
        unit = "none"
    if unit == "cells":
        return free
    about = f"{phenotype.name!r} in group {cells.group!r}"
    if unit == "none":
        messages.append(
            f"{about} is not identifiable: `batch_key={batch_key!r}` equals it or has too few batches, so that it "
            "cannot be told from the batches themselves. Values are given without null and p-value."
        )
    else:
        messages.append(
            f"{about} is constant within each batch of `batch_key={batch_key!r}`: whole batches are permuted, and the "
            f"{int(free.block_of.max()) + 1} batches are the sample."
        )
        if log10_arrangements(values, free.block_of) < np.log10(_MIN_ARRANGEMENTS):
            messages.append(f"{about} has too few batches for p-values below .05.")
    # with the same seed, phenotypes of one unit are permuted alike
    return Permutations(free.block_of, unit, free.n_perms, free.seed)
