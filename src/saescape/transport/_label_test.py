"""Do transferred labels carry the right names? An exact test that no distance enters: names are exchanged."""

from __future__ import annotations

from itertools import permutations
from math import factorial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

_MAX_EXACT = 7
_N_DRAWN = 9999


def recalls(truth: IntArray, predicted: IntArray, n_labels: int) -> FloatArray:
    """Share of the cells of each label `(n_labels, n_labels)` that were given each label; NaN where there is no cell.

    Labels are codes, -1 for missing: cells without a known label are left out, those without a prediction are wrong.
    """
    known = truth >= 0
    table = np.zeros((n_labels, n_labels + 1))
    np.add.at(table, (truth[known], predicted[known]), 1)
    count = table.sum(1, keepdims=True)
    return (table / np.where(count > 0, count, np.nan))[:, :n_labels]


def name_pvalue(recall: FloatArray, rng: np.random.Generator) -> float:
    """Share of the renamings of the reference's labels that reach the balanced accuracy, the true names included.

    Permutation test (Phipson & Smyth 2010): all renamings up to 7 labels, 9,999 drawn ones and the true names beyond.
    If the coupling says nothing about the labels, every assignment of their names is as likely.
    """
    n = len(recall)
    present = np.flatnonzero(~np.isnan(recall[:, 0]))
    if n <= _MAX_EXACT:
        renamings = np.array(list(permutations(range(n)))).reshape(factorial(n), n)
    else:
        renamings = np.concatenate([np.arange(n)[None], [rng.permutation(n) for _ in range(_N_DRAWN)]])
    accuracy = recall[present, renamings[:, present]].mean(1)
    # the first renaming is none
    return float(np.mean(accuracy >= accuracy[0] - 1e-9))
