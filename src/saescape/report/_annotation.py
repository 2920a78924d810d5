"""Long tables of annotations as the lists of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROWS = 10
_MAX_QVALUE = 0.05
# columns that are shown, where a table has them
_SHOWN = ("gene", "gene_set", "concept", "effect", "auc", "spearman", "f1", "n_overlap", "n_set", "qvalue")


def annotation_tables(annotation: dict[str, pd.DataFrame], names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """For each feature, the significant rows of each table, the smallest false discovery rate first.

    `annotation` has a title for each table. Rows of a table that was not tested are all shown, the largest effect
    first; a list that is empty says so. `first` is the first row, if it is higher where the feature is active.
    """
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for title, given in annotation.items():
        table = _with_concept(given)
        shown = [column for column in _SHOWN if column in table and table[column].notna().any()]
        for name, rows in table.groupby(table["feature"].astype(str), sort=False, observed=True):
            if name in tables:
                tables[str(name)].append({"title": title, **_listed(rows, shown)})
    return tables


def _listed(rows: pd.DataFrame, shown: list[str]) -> dict[str, Any]:
    rows = rows[rows[shown[0]].notna()] if shown else rows.head(0)
    higher = _is_higher(rows)
    if "qvalue" in rows and rows["qvalue"].notna().any():
        significant = (rows["qvalue"] <= _MAX_QVALUE).to_numpy()
        # what is higher where the feature is active comes before what is lower
        order = np.lexsort((rows["qvalue"].to_numpy(), ~higher))
        order = order[significant[order]]
        note = f"{len(order):,} of {len(rows):,} with q ≤ {_MAX_QVALUE:g}."
        if not len(order):
            smallest = rows["qvalue"].min()
            note = f"None of {len(rows):,} with q ≤ {_MAX_QVALUE:g}; the smallest q is {smallest:.2g}."
    else:
        order = np.arange(len(rows))
        if "effect" in rows:
            order = np.argsort(-rows["effect"].to_numpy(), kind="stable")
        note = "Not tested."
    order = order[:_ROWS]
    first = rows[shown].iloc[order]
    listed = [[_cell(value) for value in row] for row in first.itertuples(index=False)]
    return {"heads": shown, "rows": listed, "note": note, "first": str(listed[0][0]) if higher[order[:1]].any() else ""}


def _is_higher(rows: pd.DataFrame) -> np.ndarray:
    """Rows that say that something is higher, or more frequent, where the feature is active."""
    higher = np.ones(len(rows), dtype=bool)
    for column, chance in (("effect", 0.0), ("auc", 0.5), ("spearman", 0.0)):
        if column in rows:
            higher &= ~(rows[column].to_numpy(dtype=float) <= chance)
    return higher


def _with_concept(table: pd.DataFrame) -> pd.DataFrame:
    """Column of `.obs` and category in one."""
    if "obs_key" not in table:
        return table
    category = table["category"] if "category" in table else pd.Series(index=table.index, dtype=object)
    pairs = zip(table["obs_key"], category, strict=True)
    joined = [str(key) if pd.isna(one) or one == "" else f"{key}: {one}" for key, one in pairs]
    return table.assign(concept=joined)


def _cell(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    return None if pd.isna(value) else value
