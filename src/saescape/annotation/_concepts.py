"""Features against one label or number of the cells: effects, tests over groups and a null of maxima."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saescape._random import child_seed
from saescape.representations._permutations import Permutations, log10_arrangements, permutation_unit

from ._rank_tests import (
    RankEffects,
    between_groups,
    between_maxima,
    normal_pvalues,
    permuted_maxima,
    rank_effects,
)
from ._ranks import ranked_codes
from ._thresholds import halves, held_out_f1

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray, IntArray
    from saescape.representations._permutations import Unit

    from ._rank_tests import (
        Target,
    )
    from ._thresholds import HeldOut

# with fewer ways to deal values to groups, the smallest p-values that permutations can give are too close to .05
_LEAST_ARRANGEMENTS = 200


@dataclass(frozen=True)
class Concept:
    """Tables `(n_labels or 1, n_features)`; `unit` is what was permuted, `held_out` None for numbers."""

    effects: RankEffects
    pvalue: FloatArray
    pvalue_max: FloatArray
    held_out: HeldOut | None
    unit: Unit


def concept(
    codes: sparse.csr_matrix,
    target: Target,
    group_of: IntArray | None,
    *,
    min_cells: int,
    n_perms: int,
    rng: np.random.Generator,
) -> Concept:
    """Compare features with a label or number that varies within groups, or that belongs to whole groups.

    Within groups, each group has an effect, and a t test over groups says whether its mean differs from none; cells are
    permuted within groups. Where the value belongs to groups, mean ranks of groups are compared, and groups exchange
    their values. Without groups, cells are permuted, and the p-value is that of the normal approximation.
    """
    n = len(target.values)
    groups = np.zeros(n, dtype=np.int64) if group_of is None else np.unique(group_of, return_inverse=True)[1].ravel()
    unit = permutation_unit(target.values, groups, labels=target.n_labels > 0)
    held_out = None
    if target.n_labels:
        half_of = halves(target.values, None if group_of is None else groups, rng)
        held_out = held_out_f1(codes, target.values, target.n_labels, half_of)
    seed = child_seed(rng)
    if unit == "cells":
        permutations = Permutations(groups, "cells", n_perms, seed)
        ranks = ranked_codes(codes, groups)
        effects = rank_effects(ranks, target, min_cells)
        pvalue = normal_pvalues(effects.zscore) if group_of is None else effects.pvalue
        observed, maxima = effects.zscore, permuted_maxima(ranks, target, permutations)
    else:
        ranks = ranked_codes(codes, np.zeros(n, dtype=np.int64))
        effects = rank_effects(ranks, target, min_cells)
        n_units = int(groups.max()) + 1
        n_groups = np.full_like(effects.n_groups, n_units)
        effects = RankEffects(effects.effect, effects.strength, effects.zscore, effects.pvalue, n_groups)
        observed, pvalue = between_groups(ranks, target, groups)
        few = unit != "batches" or log10_arrangements(target.values, groups) < np.log10(_LEAST_ARRANGEMENTS)
        exchanged = Permutations(np.zeros(n_units, np.int64), "cells", 0 if few else n_perms, seed)
        maxima = between_maxima(ranks, target, groups, exchanged)
    tested = np.isfinite(pvalue) & np.isfinite(effects.effect)
    return Concept(
        effects=effects,
        pvalue=np.where(tested, pvalue, np.nan),
        pvalue_max=np.where(tested, share_of_maxima(observed, maxima), np.nan),
        held_out=held_out,
        unit=unit,
    )


def nuisance(
    codes: sparse.csr_matrix,
    target: Target,
    stratum_of: IntArray,
    *,
    min_cells: int,
    n_perms: int,
    rng: np.random.Generator,
) -> Concept:
    """Compare features with a technical label or number among cells that are alike otherwise (strata).

    Nothing is replicated above a plate or donor: cells are permuted within strata, and whether the difference is large
    is for `strength` to say.
    """
    strata = np.unique(stratum_of, return_inverse=True)[1].ravel()
    permutations = Permutations(strata, "cells", n_perms, child_seed(rng))
    ranks = ranked_codes(codes, strata)
    effects = rank_effects(ranks, target, min_cells)
    held_out = None
    if target.n_labels:
        held_out = held_out_f1(codes, target.values, target.n_labels, halves(target.values, None, rng))
    pvalue_max = share_of_maxima(effects.zscore, permuted_maxima(ranks, target, permutations))
    known = np.isfinite(effects.effect)
    return Concept(
        effects=effects,
        pvalue=np.full(effects.effect.shape, np.nan),
        pvalue_max=np.where(known, pvalue_max, np.nan),
        held_out=held_out,
        unit="cells",
    )


def share_of_maxima(observed: FloatArray, maxima: FloatArray) -> FloatArray:
    """P-values ``(1 + #{maximum >= |observed|}) / (1 + n)``, valid for all entries together (Westfall & Young 1993)."""
    if len(maxima) == 0:
        return np.full(observed.shape, np.nan)
    ordered = np.sort(maxima)
    size = np.abs(np.nan_to_num(observed)) * (1 - 1e-9)
    as_large = len(ordered) - np.searchsorted(ordered, size)
    return (1 + as_large) / (1 + len(ordered))
