"""Which observations show what a feature is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray


def top_rows(values: FloatArray, n: int, *, above: float = 0.0) -> IntArray:
    """Rows of the `n` largest values above a bound, the largest first; ties in order of the rows, NaN left out."""
    order = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")[:n]
    return order[values[order] > above]


def spread_rows(values: FloatArray, n: int) -> IntArray:
    """Rows over the whole range of positive values: the nearest to `n` evenly spaced quantiles, the largest first."""
    active = np.flatnonzero(values > 0)
    order = active[np.argsort(-values[active], kind="stable")]
    if len(order) <= n:
        return order
    return order[np.linspace(0, len(order) - 1, n).round().astype(np.int64)]


def exemplar_rows(values: FloatArray, n: int, groups: IntArray | None, *, spread: bool) -> IntArray:
    """Rows of exemplars, `n` of each group (-1: no group) in the order of the groups."""
    choose = spread_rows if spread else top_rows
    if groups is None:
        return choose(values, n)
    found = []
    for group in range(int(groups.max(initial=-1)) + 1):
        members = np.flatnonzero(groups == group)
        found.append(members[choose(values[members], n)])
    return np.concatenate([np.zeros(0, dtype=np.int64), *found])
