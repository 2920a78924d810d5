"""Measure several representations of the same cells side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from ._measure import linear_rows, measure, overlap_rows
from ._reduce import principal_components

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scipy import sparse
    from tqdm import tqdm

    from saescape._typing import FloatArray, IntArray

    from ._plan import Plan

COLUMNS = (
    *("rep", "rep_other", "baseline", "obs_key", "group", "statistic", "k", "n_dims", "n_dims_other", "n_obs"),
    *("value", "null_mean", "null_sd", "z", "ratio", "pvalue", "padj", "n_perms", "permuted"),
)


@dataclass(frozen=True)
class Space:
    """A representation to compare, computed when its turn comes.

    With `ordered`, columns are principal components in the order of their variance (which whitening hides): the first
    of them are the reduction.
    """

    name: str
    make: Callable[[], FloatArray | sparse.csr_matrix]
    baseline: bool = True
    ordered: bool = False


def compare(
    spaces: Sequence[Space],
    plan: Plan,
    ks: Sequence[int],
    dims: Sequence[int | None],
    order: IntArray,
    *,
    rng: np.random.Generator,
    progress: tqdm[Any],
) -> pd.DataFrame:
    """The table of all statistics.

    Parameters
    ----------
    spaces
        Representations; those that are not baselines are compared with all others by their neighbours, too.
    plan
        Cells, phenotypes and permutations, in the order of rows that `order` makes.
    ks
        Numbers of neighbours, increasing.
    dims
        Principal components to reduce wider representations to; None for none.
    order
        Order in which observations are used: free of the order in which they are stored.
    rng
        For approximate neighbours and iterative principal components.
    progress
        Counts representations times sets of cells.
    """
    rows: list[dict[str, Any]] = []
    # neighbours of whole groups, by the reduction that was asked for
    graphs: dict[tuple[int | None, str], list[tuple[Space, int, IntArray]]] = {}
    whole = {cells.group: cells for cells in reversed(plan.cells)}
    for space in spaces:
        x = space.make()[order]
        done: dict[int, dict[str, IntArray]] = {}
        for wanted in dims:
            width = x.shape[1] if wanted is None else min(wanted, *x.shape)
            if width in done:
                progress.update(len(plan.cells))
            else:
                done[width] = {}
                whole_or_first = width == x.shape[1] or space.ordered
                matrix = x[:, :width] if whole_or_first else principal_components(x, width, rng)
                linear = linear_rows(matrix, rng)
                for cells in plan.cells:
                    found, neighbors = measure(matrix, linear, cells, ks, rng)
                    own = {
                        "rep": space.name,
                        "rep_other": "",
                        "baseline": space.baseline,
                        "n_dims": width,
                        "n_dims_other": None,
                    }
                    rows += [{**own, **row} for row in found]
                    if cells is whole[cells.group]:
                        done[width][cells.group] = neighbors
                    progress.update()
            for group, neighbors in done[width].items():
                graphs.setdefault((wanted, group), []).append((space, width, neighbors))
    seen: set[tuple[str, str, int, str, int]] = set()
    for (_, group), made in graphs.items():
        for i, (space, width, neighbors) in enumerate(made):
            for other, of_width, of_other in made[i + 1 :]:
                pair = (group, space.name, width, other.name, of_width)
                if (space.baseline and other.baseline) or pair in seen:
                    continue
                seen.add(pair)
                own = {"rep": space.name, "rep_other": other.name, "n_dims": width, "n_dims_other": of_width}
                found = overlap_rows(neighbors, of_other, whole[group], ks)
                rows += [{**own, "baseline": other.baseline, **row} for row in found]
    return _finish(rows)


def _finish(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    table["padj"] = np.nan
    for _, family in table[table["pvalue"].notna()].groupby(["statistic", "k"], dropna=False):
        table.loc[family.index, "padj"] = stats.false_discovery_control(family["pvalue"])
    integers = {"n_dims": "int64", "n_obs": "int64", "n_perms": "int64", "k": "Int64", "n_dims_other": "Int64"}
    return table[list(COLUMNS)].astype(integers)
