"""Rank statistics of features against labels or numbers, their tests over groups and their permutations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.special import ndtr

from ._ranks import stratum_ranks
from ._student import two_sided

if TYPE_CHECKING:
    from collections.abc import Callable

    from saescape._typing import FloatArray, IntArray
    from saescape.representations._permutations import Permutations

    from ._ranks import RankedCodes

MIN_GROUPS = 3
# the variance over groups counts at least this share of that of permutations: a perfect association has none
_LEAST_VARIANCE = 0.01


@dataclass(frozen=True)
class Target:
    """What features are compared with: codes of `n_labels` labels, or numbers (`n_labels` 0)."""

    values: np.ndarray
    n_labels: int

    @property
    def n_columns(self) -> int:
        return max(self.n_labels, 1)

    def take(self, rows: IntArray) -> Target:
        return Target(self.values[rows], self.n_labels)


@dataclass(frozen=True)
class RankEffects:
    """Tables `(n_columns, n_features)`.

    `effect` is the area under the ROC curve minus one half, or Spearman's correlation, as the mean over groups that
    counted (`n_groups`); `strength` twice the former over the largest value it could have; `zscore` the sum over strata
    against that of permutations within strata, and `pvalue` that of a t test over groups.
    """

    effect: FloatArray
    strength: FloatArray
    zscore: FloatArray
    pvalue: FloatArray
    n_groups: IntArray


def rank_effects(ranks: RankedCodes, target: Target, min_cells: int) -> RankEffects:
    """Compare within strata, which are the groups."""
    shape = (target.n_columns, ranks.above.shape[1])
    total, squares, null, counted = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=np.int64)
    shared, variance, best_up, best_down = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for number, rows in enumerate(ranks.members()):
        if len(rows) < 2:
            continue
        part = _stratum(ranks, target, number, rows)
        used = (part.least >= min_cells)[:, None] & (part.variance > 0)
        scale = np.where(part.scale > 0, part.scale, 1)
        effect = np.where(used, part.shared / scale, 0)
        total += effect
        squares += effect**2
        null += np.where(used, part.variance / scale**2, 0)
        counted += used
        shared += part.shared
        variance += part.variance
        best_up += part.best_up
        best_down += part.best_down
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(counted > 0, total / counted, np.nan)
        over_groups = (squares - counted * mean**2) / (counted - 1)
        over_groups = np.maximum(over_groups, _LEAST_VARIANCE * null / counted)
        p = two_sided(mean / np.sqrt(over_groups / counted), counted - 1.0)
        zscore = np.where(variance > 0, shared / np.sqrt(variance), np.nan)
        strength = shared / np.where(shared > 0, best_up, best_down)
    return RankEffects(
        effect=mean,
        strength=np.where(np.isfinite(strength) & (target.n_labels > 0), strength, np.nan),
        zscore=zscore,
        pvalue=np.where(counted >= MIN_GROUPS, p, np.nan),
        n_groups=counted,
    )


@dataclass(frozen=True)
class _Stratum:
    """Sums of centred ranks times target, their variance under permutations, and what scales them to an effect."""

    shared: FloatArray
    variance: FloatArray
    scale: FloatArray
    least: FloatArray
    best_up: FloatArray
    best_down: FloatArray


def _stratum(ranks: RankedCodes, target: Target, number: int, rows: IntArray) -> _Stratum:
    above, n = ranks.above[rows], len(rows)
    spread, active = ranks.spread[number], ranks.n_active[number].astype(np.float64)
    if target.n_labels == 0:
        y = stratum_ranks(target.values[rows], np.zeros(n, dtype=np.int64))
        y_spread = float(y @ y)
        shared = np.asarray(above.T @ y)[None]
        scale = np.sqrt(spread * y_spread)[None]
        nothing = np.zeros_like(shared)
        varies = np.array([n if y_spread > 0 else 0])
        return _Stratum(shared, (spread * y_spread / (n - 1))[None], scale, varies, nothing, nothing)
    labels = _one_hot(target.values[rows], target.n_labels)
    inside = np.asarray(labels.sum(1)).ravel()
    outside = n - inside
    shared = (labels @ above).toarray() + np.outer(inside, ranks.zero[number] - (n + 1) / 2)
    variance = np.outer(inside * outside / (n * (n - 1)), spread)
    pairs = (inside * outside)[:, None]
    # all active cells inside (or outside) of the label, as far as there is room
    up = 0.5 * outside[:, None] * np.minimum(active, inside[:, None])
    down = 0.5 * inside[:, None] * np.minimum(active, outside[:, None])
    scale = np.broadcast_to(pairs, shared.shape)
    return _Stratum(shared, variance, scale, np.minimum(inside, outside), up, down)


def _one_hot(codes: IntArray, n_labels: int) -> sparse.csr_matrix:
    """Zeros and ones `(n_labels, n)`."""
    n = len(codes)
    return sparse.csr_matrix((np.ones(n), (codes, np.arange(n))), (n_labels, n))


def normal_pvalues(zscore: FloatArray) -> FloatArray:
    """Two-sided p-values of z-scores."""
    return 2 * ndtr(-np.abs(zscore))


def permuted_maxima(ranks: RankedCodes, target: Target, permutations: Permutations) -> FloatArray:
    """Largest absolute z-score over labels and features in each permutation of cells within strata."""
    shape = (target.n_columns, ranks.above.shape[1])
    values = target.values
    if target.n_labels == 0:
        values = stratum_ranks(values, ranks.stratum_of)
        squares = np.bincount(ranks.stratum_of, weights=values**2)
        fixed = np.zeros(shape)
        weight = np.where(ranks.sizes > 1, squares / np.maximum(ranks.sizes - 1, 1), 0)[:, None]
    else:
        counts = np.zeros((len(ranks.sizes), target.n_labels))
        np.add.at(counts, (ranks.stratum_of, target.values), 1)
        fixed = counts.T @ (ranks.zero - ranks.centre[:, None])
        n = ranks.sizes[:, None]
        weight = counts * (n - counts) / np.maximum(n * (n - 1), 1)
    variance = weight.T @ ranks.spread
    scale = np.sqrt(np.where(variance > 0, variance, np.inf))
    maxima = np.zeros(permutations.n_perms)
    for number in range(1, permutations.n_perms + 1):
        permuted = values[permutations.rows(number, number + 1)[:, 0]]
        if target.n_labels == 0:
            shared = np.asarray(ranks.above.T @ permuted)[None]
        else:
            shared = (_one_hot(permuted, target.n_labels) @ ranks.above).toarray()
        maxima[number - 1] = np.max(np.abs(shared + fixed) / scale)
    return maxima


def between_groups(ranks: RankedCodes, target: Target, group_of: IntArray) -> tuple[FloatArray, FloatArray]:
    """Correlation of groups' mean ranks with the value that all cells of a group share, and its p-value (t test).

    `ranks` are over all cells (one stratum). For labels this is Student's test of the groups with the label against the
    others; NaN with fewer than 3 groups on either side.
    """
    means, shared, enough = _group_level(ranks, target, group_of)
    r = shared(np.arange(len(means)))
    n = len(means)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = r * np.sqrt((n - 2) / np.maximum(1 - r**2, 1e-12))
    return r, np.where(enough[:, None], two_sided(t, n - 2.0), np.nan)


def between_maxima(ranks: RankedCodes, target: Target, group_of: IntArray, permutations: Permutations) -> FloatArray:
    """Largest absolute correlation over labels and features when groups, permuted as rows, exchange their values."""
    _, shared, _ = _group_level(ranks, target, group_of)
    orders = [permutations.rows(i, i + 1)[:, 0] for i in range(1, permutations.n_perms + 1)]
    return np.array([np.nanmax(np.abs(shared(order)), initial=0.0) for order in orders])


def _group_level(
    ranks: RankedCodes, target: Target, group_of: IntArray
) -> tuple[FloatArray, Callable[[IntArray], FloatArray], FloatArray]:
    sizes = np.bincount(group_of)
    means = (_one_hot(group_of, len(sizes)) @ ranks.above).toarray() / sizes[:, None]
    means -= means.mean(0)
    first = np.unique(group_of, return_index=True)[1]
    values = target.values[first]
    if target.n_labels == 0:
        y = stratum_ranks(values, np.zeros(len(values), dtype=np.int64))[:, None]
        enough = np.array([len(values) > MIN_GROUPS])
    else:
        y = _one_hot(values, target.n_labels).toarray().T
        n_inside = y.sum(0)
        enough = np.minimum(n_inside, len(y) - n_inside) >= MIN_GROUPS
        y = y - y.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        length = np.sqrt(np.square(means).sum(0))
        unit = np.where(length > 1e-9 * ranks.sizes[0], means / length, np.nan)
        y = y / np.linalg.norm(y, axis=0)
    y[:, ~enough] = np.nan
    return means, lambda order: y[order].T @ unit, enough
