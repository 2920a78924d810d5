"""Scores of all features at once, with what permuted cells give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from saescape.matching._nulls import pooled_pvalues
from saescape.sae._stability import unit_rows

from ._forced_choice import draw_trials
from ._monosemanticity import entropy, label_shares, unit_interval, weighted_similarity, within_label_similarity

if TYPE_CHECKING:
    from saescape._typing import BoolArray, FloatArray, IntArray
    from saescape.representations._permutations import Permutations

# fewer active cells than this say nothing about a feature
MIN_ACTIVE = 10
# the trials of all features are alike, so that few permutations give many null scores
_AFC_NULLS = 4


@dataclass(frozen=True)
class Judge:
    """How cells look to somebody who has not seen the input of the features.

    Parameters
    ----------
    rows
        Representation `(n, d)`.
    label_of
        Number of the label of each cell, from 0; None without labels.
    n_labels
        Number of labels.
    batch_of
        Number of the batch of each cell, from 0; None without batches.
    permutations
        Of the cells, within batches.
    """

    rows: FloatArray
    label_of: IntArray | None
    n_labels: int
    batch_of: IntArray | None
    permutations: Permutations


def score_features(
    codes: sparse.csr_matrix, judge: Judge, *, n_trials: int, n_exemplars: int, rng: np.random.Generator
) -> pd.DataFrame:
    """One row per feature of the codes `(n, m)`, NaN below ten active cells; `label` is a number, -1 for none."""
    unit = unit_rows(judge.rows)
    orders = [judge.permutations.rows(i, i + 1)[:, 0] for i in range(1, judge.permutations.n_columns)]
    weights = unit_interval(codes)
    n_active = np.bincount(codes.indices, minlength=codes.shape[1])
    few = n_active < MIN_ACTIVE
    table = pd.DataFrame({"n_active": n_active})

    nulls = np.stack([weighted_similarity(weights, unit[order]) for order in orders])
    _add(table, "ms", weighted_similarity(weights, unit), nulls, few)
    trials = draw_trials(codes, judge.batch_of, n_trials=n_trials, n_exemplars=n_exemplars, rng=rng)
    nulls = np.stack([trials.scores(unit[order]) for order in orders[:_AFC_NULLS]])
    _add(table, "two_afc", trials.scores(unit), nulls, few, by_feature=False)
    if judge.label_of is not None:
        plain = sparse.csr_matrix(codes, dtype=np.float64)
        shares = label_shares(plain, judge.label_of, judge.n_labels)
        drawn = [label_shares(plain, judge.label_of[order], judge.n_labels) for order in orders]
        _add(table, "entropy", -entropy(shares), -np.stack([entropy(one) for one in drawn]), few)
        table[["entropy", "entropy_null"]] *= -1
        _add(table, "purity", shares.max(1), np.stack([one.max(1) for one in drawn]), few)
        label = np.where(few | np.isnan(shares[:, 0]), -1, np.nan_to_num(shares).argmax(1))
        within = within_label_similarity(judge.label_of, unit, judge.n_labels)
        table["label"] = label
        table["ms_ceiling"] = np.where(label >= 0, within[label], np.nan)
    return table


def _add(
    table: pd.DataFrame, name: str, value: FloatArray, nulls: FloatArray, few: BoolArray, *, by_feature: bool = True
) -> None:
    """Value, mean of the permutations and p-value, which is one-sided: larger than by chance."""
    value = np.where(few, np.nan, value)
    known = np.isfinite(value)
    pvalue = np.full(len(value), np.nan)
    if by_feature:
        pvalue[known] = pooled_pvalues(value[known], nulls[:, known])[1]
    else:
        pool = np.sort(nulls[:, known].ravel())
        pvalue[known] = (1 + len(pool) - np.searchsorted(pool, value[known])) / (1 + len(pool))
    table[name] = value
    table[f"{name}_null"] = np.where(known, nulls.mean(0), np.nan)
    table[f"{name}_pvalue"] = pvalue


def dimension_codes(rows: FloatArray, share: float) -> sparse.csr_matrix:
    """Dimensions as if they were features: both ends of each, active in a given share of the cells.

    Parameters
    ----------
    rows
        Input `(n, d)` of the sparse autoencoder.
    share
        Of the cells in which each end is active.

    Returns
    -------
    Codes `(n, 2 d)`: distance beyond the quantile, upper ends first.
    """
    rows = np.asarray(rows, dtype=np.float64)
    low, high = np.quantile(rows, [share, 1 - share], axis=0)
    ends = [np.maximum(rows - high, 0), np.maximum(low - rows, 0)]
    return sparse.hstack([sparse.csr_matrix(end) for end in ends], format="csr")
