"""Rows of a long table of annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saescape._validate import check_adata, check_integer, check_real, require_key, string_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData


def selected(
    adata: AnnData, slot: str, features: str | Sequence[str] | None, max_qvalue: float | None, n_top: int | None
) -> pd.DataFrame:
    """Rows of some features, at most `n_top` of each, in the order stored.

    Raises
    ------
    KeyError
        If there is no table, or no such feature.
    ValueError
        For values out of range.
    """
    check_adata(adata)
    entry = require_key(adata, "uns", slot)
    if not hasattr(entry, "keys") or "results" not in entry:
        msg = f"`adata.uns[{slot!r}]` holds no annotation of features; run it again."
        raise ValueError(msg)
    table: pd.DataFrame = entry["results"]
    if features is not None:
        names = string_list("features", features)
        known = set(table["feature"].astype(object))
        missing = [name for name in names if name not in known]
        if missing:
            msg = f"`features`: {missing[:5]} not found in `adata.uns[{slot!r}]['results']`."
            raise KeyError(msg)
        table = table[table["feature"].isin(names)]
    if max_qvalue is not None:
        table = table[table["qvalue"] <= check_real("max_qvalue", max_qvalue, 0, 1, open_low=False)]
    if n_top is not None:
        table = table.groupby("feature", observed=True, sort=False).head(check_integer("n_top", n_top))
    return table.reset_index(drop=True)
