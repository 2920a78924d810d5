"""What steering does to variables, group by group, beside what other directions do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
from scipy import sparse

from saescape.annotation._student import two_sided

if TYPE_CHECKING:
    from collections.abc import Callable

    from saescape._typing import FloatArray, IntArray

# dense or sparse
Rows: TypeAlias = Any

_BLOCK_ROWS = 2_048
# cells on which control directions are decoded when that is not linear
_CONTROL_CELLS = 2_000
MIN_GROUPS = 3
# groups that differ by less have no spread that a test could use
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Push:
    """Shifts ``change @ directions`` of cells, kept as their factors `(n, k)` and `(k, d)`."""

    change: FloatArray
    directions: FloatArray

    def shift(self, cells: slice | IntArray) -> FloatArray:
        """Shifts of some cells `(n, d)`."""
        return self.change[cells] @ self.directions

    def take(self, cells: IntArray) -> Push:
        return Push(self.change[cells], self.directions)

    def signed_length(self) -> FloatArray:
        """Length of each shift, negative where the codes get smaller on the whole."""
        gram = self.directions @ self.directions.T
        squared = np.einsum("ij,jk,ik->i", self.change, gram, self.change)
        return np.sign(self.change.sum(1)) * np.sqrt(np.maximum(squared, 0))

    def along(self, direction: FloatArray) -> Push:
        """Shifts of the same lengths, cell by cell, along a direction of length 1."""
        return Push(self.signed_length()[:, None], np.asarray(direction, dtype=np.float64)[None])


class Decoder(Protocol):
    """From rows of the representation to variables."""

    def group_effects(self, x: Rows, push: Push, group_of: IntArray, n_groups: int) -> FloatArray:
        """Mean change `(n_groups, n_variables)` over the cells of each group when rows `(n, d)` are shifted."""
        ...


@dataclass(frozen=True)
class LinearDecoder:
    """Variables are ``rows @ loadings``, with loadings `(d, n_variables)`; the rows themselves without."""

    loadings: FloatArray | None

    def group_effects(self, x: Rows, push: Push, group_of: IntArray, n_groups: int) -> FloatArray:
        shift = (_mean_of_group(group_of, n_groups) @ push.change) @ push.directions
        return shift if self.loadings is None else shift @ self.loadings


@dataclass(frozen=True)
class CallableDecoder:
    """A function of rows `(n, d)` float32 that returns variables `(n, n_variables)`."""

    decode: Callable[[FloatArray], FloatArray]

    def group_effects(self, x: Rows, push: Push, group_of: IntArray, n_groups: int) -> FloatArray:
        weights, total = _mean_of_group(group_of, n_groups).tocsc(), np.zeros((n_groups, 1))
        for low in range(0, x.shape[0], _BLOCK_ROWS):
            some = slice(low, low + _BLOCK_ROWS)
            before = x[some].toarray() if sparse.issparse(x) else np.asarray(x[some])
            after = before + push.shift(some)
            change = [np.asarray(self.decode(rows.astype(np.float32)), np.float64) for rows in (after, before)]
            total = total + weights[:, some] @ (change[0] - change[1])
        return np.asarray(total)


def _mean_of_group(group_of: IntArray, n_groups: int) -> sparse.csr_matrix:
    """Matrix `(n_groups, n)` that takes means over groups."""
    n = len(group_of)
    share = 1 / np.maximum(np.bincount(group_of, minlength=n_groups), 1)
    return sparse.csr_matrix((share[group_of], (group_of, np.arange(n))), shape=(n_groups, n))


def variable_effects(
    decoder: Decoder,
    x: Rows,
    push: Push,
    controls: FloatArray,
    group_of: IntArray,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One row per variable.

    Parameters
    ----------
    x
        Rows of the representation `(n, d)`, dense or sparse.
    push
        Their shifts.
    controls
        Directions of length 1 `(n_controls, d)` to compare with.
    group_of
        Number of the group of each cell, from 0, none of them empty.

    Returns
    -------
    `effect`, the mean over groups; `effect_sd` over groups; `n_groups`; `statistic` and `pvalue` of the t test of the
    groups' changes against 0 (paired: each group with and without steering), NaN below three groups and where groups
    agree to the last digit; `control`, the root mean square of the effects of the controls, and `specificity`, the size
    of the effect in multiples of it.
    """
    n_groups = int(group_of.max()) + 1
    effects = decoder.group_effects(x, push, group_of, n_groups)
    mean, unknown = effects.mean(0), np.full(effects.shape[1], np.nan)
    sd, statistic = unknown.copy(), unknown.copy()
    if n_groups >= MIN_GROUPS:
        sd = effects.std(0, ddof=1)
        error = sd / np.sqrt(n_groups)
        statistic = np.divide(mean, error, out=unknown.copy(), where=sd > _ROUNDING * np.abs(mean))
    cells = np.arange(x.shape[0])
    if len(cells) > _CONTROL_CELLS and isinstance(decoder, CallableDecoder):
        cells = np.sort(rng.choice(cells, _CONTROL_CELLS, replace=False))
    one, rows, shifts = np.zeros(len(cells), np.int64), x[cells], push.take(cells)
    others = [decoder.group_effects(rows, shifts.along(direction), one, 1)[0] for direction in controls]
    size = np.sqrt(np.mean(np.square(others), axis=0)) if others else unknown
    return pd.DataFrame(
        {
            "effect": mean,
            "effect_sd": sd,
            "n_groups": n_groups,
            "statistic": statistic,
            "pvalue": two_sided(statistic, n_groups - 1.0),
            "control": size,
            "specificity": np.divide(np.abs(mean), size, out=unknown.copy(), where=size > 0),
        }
    )
