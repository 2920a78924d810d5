"""Which rows are held out together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import IntArray

N_FOLDS = 5


def folds(n: int, batch_of: IntArray | None) -> IntArray | None:
    """Number of the fold of each row: at most five, whole batches together; None when there is a single batch.

    Rows without batches are dealt in turn, so that their order must be random.
    """
    if batch_of is None:
        return np.arange(n) % min(N_FOLDS, n)
    n_batches = len(np.unique(batch_of))
    if n_batches < 2:
        return None
    from sklearn.model_selection import GroupKFold

    result = np.empty(n, dtype=np.int64)
    splits = GroupKFold(min(N_FOLDS, n_batches)).split(np.empty((n, 1)), groups=batch_of)
    for number, (_, test) in enumerate(splits):
        result[test] = number
    return result
