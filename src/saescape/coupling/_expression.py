"""Genes of a reference: found by name, read in blocks of cells."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._rows import RowSource
from saescape._validate import require_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData

_MAX_NAMED = 5


def reference_expression(adata_ref: AnnData, var_names: Sequence[str] | None, layer: str | None) -> RowSource:
    """Expression of genes of the reference, in the order given; None for all of them.

    Raises
    ------
    KeyError
        For a layer or genes that do not exist.
    ValueError
        If there is no expression, a gene is there twice, or values are not finite.
    """
    if layer is None and (adata_ref.n_vars == 0 or adata_ref.X is None):
        msg = f"`adata_ref.X` is empty; give `layer` (available: {list(adata_ref.layers)})."
        raise ValueError(msg)
    columns = None if var_names is None else _columns(adata_ref.var_names, var_names)
    if var_names is None and not adata_ref.var_names.is_unique:
        msg = "`adata_ref.var_names` are not unique; run `adata_ref.var_names_make_unique()` first."
        raise ValueError(msg)
    where = "`adata_ref.X`" if layer is None else f"`adata_ref.layers[{layer!r}]`"
    data = adata_ref.X
    if layer is not None:
        data = require_key(adata_ref, "layers", layer, argument="layer", adata_name="adata_ref")
    rows = RowSource(data, columns=columns, where=where)
    rows.moments()
    return rows


def _columns(names: pd.Index, wanted: Sequence[str]) -> Any:
    missing = [name for name in wanted if name not in names]
    if missing:
        shown = ", ".join(_with_near(name, names) for name in missing[:_MAX_NAMED])
        more = ", ..." if len(missing) > _MAX_NAMED else ""
        msg = f"`var_names`: {len(missing)} of {len(wanted)} not found in `adata_ref.var_names`: {shown}{more}."
        raise KeyError(msg)
    repeated_in_ref = names[names.isin(wanted) & names.duplicated()]
    if len(repeated_in_ref):
        msg = (
            f"`adata_ref.var_names` has {repeated_in_ref[0]!r} several times; run "
            "`adata_ref.var_names_make_unique()` first."
        )
        raise ValueError(msg)
    return names.get_indexer(wanted) if names.is_unique else np.array([names.get_loc(name) for name in wanted])


def _with_near(name: str, names: pd.Index) -> str:
    """The name, and those near it in spelling (upper and lower case taken as equal)."""
    folded = {other.casefold(): other for other in names}
    near = [folded[match] for match in get_close_matches(name.casefold(), folded, n=3, cutoff=0.7)]
    return f"{name!r} (near: {', '.join(near)})" if near else repr(name)
