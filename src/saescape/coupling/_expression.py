"""Genes of a reference: found by name, read in blocks of cells."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._rows import RowSource
from saescape._validate import missing_key, require_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

_MAX_NAMED = 5


def reference_expression(
    adata_ref: AnnData,
    var_names: Sequence[str] | None,
    layer: str | None,
    *,
    use_raw: bool = False,
    gene_symbols: str | None = None,
) -> RowSource:
    """Expression of genes of the reference, in the order given; None for all of them.

    `use_raw` and `gene_symbols` as in :func:`scanpy.get.obs_df`.

    Raises
    ------
    KeyError
        For a layer, a column or genes that do not exist.
    ValueError
        If there is no expression, a gene is there twice, or values are not finite.
    """
    names, where_names = _names(adata_ref, var_names, layer, use_raw=use_raw, gene_symbols=gene_symbols)
    if use_raw:
        columns = None if var_names is None else _columns(names, var_names, where_names)
        rows = RowSource(adata_ref.raw.X, columns=columns, where="`adata_ref.raw.X`")
        rows.moments()
        return rows
    if layer is None and (adata_ref.n_vars == 0 or adata_ref.X is None):
        msg = f"`adata_ref.X` is empty; give `layer` (available: {list(adata_ref.layers)})."
        raise ValueError(msg)
    columns = None if var_names is None else _columns(names, var_names, where_names)
    where = "`adata_ref.X`" if layer is None else f"`adata_ref.layers[{layer!r}]`"
    data = adata_ref.X
    if layer is not None:
        data = require_key(adata_ref, "layers", layer, argument="layer", adata_name="adata_ref")
    rows = RowSource(data, columns=columns, where=where)
    rows.moments()
    return rows


def genes_of(adata_ref: AnnData, var_names: Sequence[str] | None, *, use_raw: bool, gene_symbols: str | None) -> Any:
    """Rows of `.var` (or `.raw.var`) of the genes that `reference_expression` gives, in its order."""
    table = adata_ref.raw.var if use_raw else adata_ref.var
    if var_names is None:
        return table.copy()
    names, where = _names(adata_ref, var_names, None, use_raw=use_raw, gene_symbols=gene_symbols)
    return table.iloc[_columns(names, var_names, where)].copy()


def _names(
    adata_ref: AnnData, var_names: Sequence[str] | None, layer: str | None, *, use_raw: bool, gene_symbols: str | None
) -> tuple[pd.Index, str]:
    """Names that genes are looked up in, and where they stand."""
    if use_raw and layer is not None:
        msg = f"`layer={layer!r}` and `use_raw=True` exclude each other; give one of them."
        raise ValueError(msg)
    if use_raw and adata_ref.raw is None:
        msg = "`use_raw=True`, but `adata_ref.raw` is empty; use `use_raw=False`, or `layer`."
        raise ValueError(msg)
    slot = "raw.var" if use_raw else "var"
    table = adata_ref.raw.var if use_raw else adata_ref.var
    if gene_symbols is None:
        if var_names is None and not table.index.is_unique:
            msg = f"`adata_ref.{slot}_names` are not unique; run `adata_ref.var_names_make_unique()` first."
            raise ValueError(msg)
        return table.index, f"adata_ref.{slot}_names"
    if var_names is None:
        msg = f"`gene_symbols={gene_symbols!r}` needs `var_names`: the names to look up in this column."
        raise ValueError(msg)
    if gene_symbols not in table.columns:
        raise missing_key(gene_symbols, f"adata_ref.{slot}", table.columns, argument="gene_symbols")
    symbols = table[gene_symbols]
    return pd.Index(symbols.astype(str).where(symbols.notna(), "")), f"adata_ref.{slot}[{gene_symbols!r}]"


def _columns(names: pd.Index, wanted: Sequence[str], where: str) -> Any:
    missing = [name for name in wanted if name not in names]
    if missing:
        shown = ", ".join(_with_near(name, names) for name in missing[:_MAX_NAMED])
        more = ", ..." if len(missing) > _MAX_NAMED else ""
        msg = f"`var_names`: {len(missing)} of {len(wanted)} not found in `{where}`: {shown}{more}."
        raise KeyError(msg)
    repeated_in_ref = names[names.isin(wanted) & names.duplicated()]
    if len(repeated_in_ref):
        advice = "run `adata_ref.var_names_make_unique()` first" if where.endswith("_names") else "use `.var_names`"
        msg = f"`{where}` has {repeated_in_ref[0]!r} several times; {advice}."
        raise ValueError(msg)
    return names.get_indexer(wanted) if names.is_unique else np.array([names.get_loc(name) for name in wanted])


def _with_near(name: str, names: pd.Index) -> str:
    """The name, and those near it in spelling (upper and lower case taken as equal)."""
    folded = {other.casefold(): other for other in names}
    near = [folded[match] for match in get_close_matches(name.casefold(), folded, n=3, cutoff=0.7)]
    return f"{name!r} (near: {', '.join(near)})" if near else repr(name)
