"""Features that sparse inference can do without, because a few others add up to the same direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._omp import nonnegative_omp

if TYPE_CHECKING:
    import torch

    from saescape._typing import BoolArray, IntArray

# a direction that this many others can add up to stands for their co-occurrence, not for something of its own
_PARTS = 3
_MIN_CORRELATION = 1e-3


def without_sums(atoms: torch.Tensor, n_used: IntArray, bound: float) -> BoolArray:
    """Mask of the features to keep: from the most used to the least, all that the ones kept so far cannot add up to.

    Parameters
    ----------
    atoms
        Directions of unit length `(n_features, n_dims)`.
    n_used
        Rows in which each feature is active; features that never are go.
    bound
        A feature goes when the squared distance between its direction and a non-negative combination of at most three
        kept ones is smaller.
    """
    kept: list[int] = []
    for j in np.argsort(-n_used, kind="stable"):
        if n_used[j] == 0:
            break
        atom = atoms[j : j + 1]
        if kept:
            others = atoms[kept]
            values, cols = nonnegative_omp(atom, others, min(_PARTS, len(kept)), min_correlation=_MIN_CORRELATION)
            rest = atom[0] - values[0] @ others[cols[0]]
            if float(rest.square().sum()) < bound:
                continue
        kept.append(int(j))
    mask = np.zeros(len(atoms), dtype=bool)
    mask[kept] = True
    return mask
