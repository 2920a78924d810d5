"""All statistics of one representation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ._agreement import knn_accuracy, neighbor_purity
from ._autocorrelation import autocorrelation, knn_r2
from ._graph import nearest, nearest_elsewhere
from ._linear import train_folds
from ._null import against_null
from ._overlap import knn_overlap
from ._probe import probe_accuracy
from ._reduce import principal_components
from ._ridge import ridge_r2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy import sparse

    from saescape._typing import FloatArray, IntArray

    from ._linear import TrainFold
    from ._permutations import Permutations
    from ._plan import Cells

    # statistic, then number of neighbours (None where there is none), then observed and permuted values
    _Found = dict[str, dict[int | None, FloatArray]]

# dimensions up to which linear readouts use a representation as it is
MAX_LINEAR = 256
# permutations that are always made, and operations of all of them above which fewer are
_MIN_PERMS = 99
_VOTES_BUDGET, _PROBE_BUDGET, _OVERLAP_BUDGET = 4e9, 4e10, 1e9


def affordable(permutations: Permutations, work: float, budget: float) -> Permutations:
    """The first permutations, as many as the budget allows at `work` operations each."""
    n_perms = int(min(permutations.n_perms, max(_MIN_PERMS, budget / work)))
    return permutations if n_perms == permutations.n_perms else replace(permutations, n_perms=n_perms)


def linear_rows(x: FloatArray | sparse.csr_matrix, rng: np.random.Generator) -> FloatArray:
    """Rows for linear readouts: as they are, or their first principal components."""
    if x.shape[1] > MAX_LINEAR:
        return principal_components(x, MAX_LINEAR, rng)
    return x if isinstance(x, np.ndarray) else x.toarray()


def measure(
    x: FloatArray | sparse.csr_matrix,
    linear: FloatArray,
    cells: Cells,
    ks: Sequence[int],
    rng: np.random.Generator,
) -> tuple[list[dict[str, Any]], IntArray]:
    """Rows of the table for one representation on one set of cells, and its neighbours.

    Parameters
    ----------
    x
        Representation of all cells.
    linear
        What linear readouts of all cells use.
    cells
        Rows, phenotypes and permutations.
    ks
        Numbers of neighbours, increasing.
    rng
        For the approximate index of many cells.
    """
    own = x[cells.rows]
    neighbors = nearest(own, ks[-1], rng)
    if not cells.measured:
        return [], neighbors
    readouts = _readouts(own, linear, cells, neighbors, ks, rng)
    rows = []
    for phenotype, permutations in cells.measured:
        values = phenotype.values[cells.rows]
        if phenotype.n_labels:
            found = _of_labels(neighbors, values, phenotype.n_labels, ks, permutations, readouts)
        else:
            found = _of_numbers(neighbors, values, ks, permutations, readouts)
        common = {"obs_key": phenotype.name, "group": cells.group, "n_obs": len(values), "permuted": permutations.unit}
        rows += [
            {**common, "statistic": statistic, "k": k, **against_null(statistic, value)}
            for statistic, per_k in found.items()
            for k, value in per_k.items()
        ]
    return rows, neighbors


@dataclass(frozen=True)
class _Readouts:
    """What predictions of held-out rows use: neighbours and how many of them there are for all, and linear features."""

    neighbors: IntArray
    ks: Sequence[int]
    features: FloatArray
    folds: list[TrainFold]
    elsewhere: bool


def _readouts(
    own: FloatArray | sparse.csr_matrix,
    linear: FloatArray,
    cells: Cells,
    neighbors: IntArray,
    ks: Sequence[int],
    rng: np.random.Generator,
) -> _Readouts | None:
    if cells.fold_of is None:
        return None
    if cells.elsewhere:
        # the largest fold has the fewest rows outside
        n_outside = len(cells.rows) - int(np.bincount(cells.fold_of).max())
        ks = [k for k in ks if k <= n_outside]
        neighbors = nearest_elsewhere(own, cells.fold_of, ks[-1], rng) if ks else neighbors
    features = linear[cells.rows].astype(np.float64)
    return _Readouts(neighbors, ks, features, train_folds(features, cells.fold_of), cells.elsewhere)


def _of_numbers(
    neighbors: IntArray,
    values: FloatArray,
    ks: Sequence[int],
    permutations: Permutations,
    readouts: _Readouts | None,
) -> _Found:
    found = {name: _by_k(ks, array) for name, array in autocorrelation(neighbors, values, ks, permutations).items()}
    if readouts is None:
        del found["knn_r2"]
        return found
    if readouts.elsewhere:
        found["knn_r2"] = {}
        if readouts.ks:
            found["knn_r2"] = _by_k(readouts.ks, knn_r2(readouts.neighbors, values, readouts.ks, permutations))
    found["ridge_r2"] = {None: ridge_r2(readouts.features, values, readouts.folds, permutations)}
    return found


def _of_labels(
    neighbors: IntArray,
    codes: IntArray,
    n_labels: int,
    ks: Sequence[int],
    permutations: Permutations,
    readouts: _Readouts | None,
) -> _Found:
    found: _Found = {"neighbor_purity": _by_k(ks, neighbor_purity(neighbors, codes, ks, permutations))}
    if readouts is None:
        return found
    if readouts.ks:
        some = affordable(permutations, len(codes) * readouts.ks[-1] * n_labels, _VOTES_BUDGET)
        found["knn_accuracy"] = _by_k(readouts.ks, knn_accuracy(readouts.neighbors, codes, n_labels, readouts.ks, some))
    work = len(codes) * n_labels * (2 * readouts.features.shape[1] + n_labels)
    some = affordable(permutations, work, _PROBE_BUDGET)
    found["probe_accuracy"] = {None: probe_accuracy(readouts.features, codes, n_labels, readouts.folds, some)}
    return found


def _by_k(ks: Sequence[int], array: FloatArray) -> dict[int | None, FloatArray]:
    return dict(zip(ks, array, strict=True))


def overlap_rows(first: IntArray, second: IntArray, cells: Cells, ks: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of the table for the neighbours that two representations share."""
    some = affordable(cells.permutations, len(first) * ks[-1] ** 2, _OVERLAP_BUDGET)
    shared = knn_overlap(first, second, ks, some)
    common = {"obs_key": "", "group": cells.group, "n_obs": len(first), "permuted": "cells", "statistic": "knn_overlap"}
    return [{**common, "k": k, **against_null("knn_overlap", row)} for k, row in zip(ks, shared, strict=True)]
