"""Labels and groups of crops as codes, and how often each is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from saescape._typing import BoolArray, IntArray


@dataclass(frozen=True)
class Design:
    """Labels and nested groups of crops, as codes `(n,)` (negative for missing) and as the values given."""

    labels: IntArray | None
    groups: list[IntArray]
    values: dict[str, pd.Series]

    @classmethod
    def of(cls, labels: Any, groups: Any, n: int) -> Design:
        """Check labels and groups of `n` crops.

        Raises
        ------
        ValueError
            For another length, or fewer than two labels.
        """
        values: dict[str, pd.Series] = {}
        codes = None
        if labels is not None:
            values["label"] = _column(labels, n, "labels")
            codes = _codes(values["label"])
            n_labels = int(codes.max()) + 1
            if n_labels < 2:
                msg = f"`labels` must have at least two different values, found {n_labels}; leave them out."
                raise ValueError(msg)
        levels = []
        for name, column in _columns(groups, n):
            value = _column(column, n, f"groups[{name!r}]")
            levels.append(_codes(value))
            values[name if name not in values else f"groups_{name}"] = value
        return cls(codes, levels, values)

    def digest(self) -> str:
        """What tells this design from another one."""
        levels = [level.tobytes() for level in ([] if self.labels is None else [self.labels]) + self.groups]
        return hashlib.sha256(b"|".join([str(self.labels is None).encode(), *levels])).hexdigest()

    def table(self, seen: BoolArray) -> pd.DataFrame | None:
        """For each combination its crops, the share of the draws that it gets, and how many crops were drawn."""
        if not self.values:
            return None
        levels = ([] if self.labels is None else [self.labels]) + self.groups
        names = list(self.values)
        codes = pd.DataFrame(dict(zip(names, levels, strict=True)))
        combinations = codes.assign(row=np.arange(len(codes)), seen=seen).groupby(names)
        counts = combinations.agg(
            first=("row", "first"), n_crops=("row", "size"), n_drawn=("seen", "sum")
        ).reset_index()
        share = np.ones(len(counts))
        for i, name in enumerate(names):
            within = counts.groupby(names[:i])[name].transform("nunique") if i else counts[name].nunique()
            share /= np.asarray(within)
        for name in names:
            counts[name] = self.values[name].to_numpy()[counts["first"]]
        counts["share_of_draws"] = share
        return counts[[*names, "n_crops", "share_of_draws", "n_drawn"]]


def _columns(groups: Any, n: int) -> list[tuple[str, Any]]:
    if groups is None:
        return []
    if isinstance(groups, pd.DataFrame):
        return [(str(name), groups.iloc[:, i]) for i, name in enumerate(groups.columns)]
    if isinstance(groups, Mapping):
        return [(str(name), column) for name, column in groups.items()]
    if isinstance(groups, np.ndarray) and groups.ndim == 2 and len(groups) == n:
        return [(f"group_{i}", column) for i, column in enumerate(groups.T)]
    if isinstance(groups, pd.Series | pd.Categorical) or np.ndim(groups) == 1:
        return [(str(getattr(groups, "name", None) or "group"), groups)]
    return [(f"group_{i}", column) for i, column in enumerate(groups)]


def _column(values: Any, n: int, name: str) -> pd.Series:
    column = pd.Series(np.asarray(values, dtype=object))
    if len(column) != n:
        msg = f"`{name}` must have one value per crop ({n}), found {len(column)}."
        raise ValueError(msg)
    return column


def _codes(column: pd.Series) -> IntArray:
    # missing values get -1: no label, and a group of their own
    return pd.factorize(column, sort=False)[0].astype(np.int64)
