"""Long tables of annotations as the lists of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROWS = 10
# column by which the rows of a table are ordered, and whether small values come first
_ORDER = (("qvalue", True), ("pvalue", True), ("score", False), ("statistic", False), ("correlation", False))
_HIDDEN = frozenset({"feature", "source", "direction"})


def annotation_tables(annotation: dict[str, pd.DataFrame], names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """For each feature, the first rows of each table that has rows of it; `annotation` has a title for each table."""
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for title, table in annotation.items():
        shown = [str(column) for column in table.columns if column not in _HIDDEN]
        for name, rows in table.groupby(table["feature"].astype(str), sort=False, observed=True):
            if name not in tables:
                continue
            first = _ordered(rows)[shown].head(_ROWS)
            values = [[_cell(value) for value in row] for row in first.itertuples(index=False)]
            hidden = len(rows) - len(first)
            note = f"First {len(first)} of {len(rows):,}." if hidden else ""
            tables[str(name)].append({"title": title, "heads": shown, "rows": values, "note": note})
    return tables


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    for column, ascending in _ORDER:
        if column in rows and rows[column].notna().any():
            return rows.sort_values(column, ascending=ascending, kind="stable")
    return rows


def _cell(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return None if pd.isna(value) else value
