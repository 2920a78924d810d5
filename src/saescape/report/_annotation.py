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
    first; a list that is empty says so.
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
    if "qvalue" in rows and rows["qvalue"].notna().any():
        kept = rows[rows["qvalue"] <= _MAX_QVALUE].sort_values("qvalue", kind="stable")
        smallest = rows["qvalue"].min()
        note = f"{len(kept):,} of {len(rows):,} with q ≤ {_MAX_QVALUE:g}."
        if not len(kept):
            note = f"None of {len(rows):,} with q ≤ {_MAX_QVALUE:g}; the smallest q is {smallest:.2g}."
    else:
        kept = rows
        if "effect" in rows:
            kept = rows.iloc[np.argsort(-rows["effect"].abs().to_numpy(), kind="stable")]
        note = "Not tested."
    first = kept[shown].head(_ROWS)
    listed = [[_cell(value) for value in row] for row in first.itertuples(index=False)]
    return {"heads": shown, "rows": listed, "note": note}


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
