"""Expression that features are associated with: measured, carried over by a coupling, or the model's own loadings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from saescape._memory import check_memory
from saescape._rows import RowSource
from saescape._validate import require_key, string_list
from saescape.coupling._expression import reference_expression
from saescape.coupling._stored import stored_coupling, warn_about

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from saescape._keys import SaeKeys
    from saescape._typing import FloatArray, IntArray

_COUNTED_ROWS = 200


@dataclass(frozen=True)
class Expression:
    """Expression `(len(cells), n_genes)` of the cells that have any, and whether it was measured in them."""

    values: FloatArray | sparse.csr_matrix
    names: np.ndarray
    cells: IntArray
    measured: bool
    origin: str


def read_expression(
    adata: AnnData,
    genes: str | Sequence[str] | None,
    *,
    layer: str | None,
    use_raw: bool,
    use_rep: str | None,
    adata_ref: AnnData | None,
    gw_key: str | None,
) -> Expression:
    """Find the genes and load their expression.

    Raises
    ------
    KeyError
        For genes, layers, slots or couplings that do not exist.
    ValueError
        For arguments that exclude each other, and values that are not finite.
    MemoryError
        If it does not fit.
    """
    wanted = None if genes is None else string_list("genes", genes)
    if wanted is not None and not wanted:
        msg = "`genes` names no gene; give at least one, or None for all."
        raise ValueError(msg)
    if use_rep is not None:
        idle = {"layer": layer, "use_raw": use_raw or None, "adata_ref": adata_ref}
        other = next((name for name, value in idle.items() if value is not None), None)
        if other is not None:
            msg = f"`use_rep={use_rep!r}` and `{other}` exclude each other; give one of them."
            raise ValueError(msg)
        return _from_obsm(adata, use_rep, wanted)
    if gw_key is not None and adata_ref is None:
        msg = f"`gw_key={gw_key!r}` needs `adata_ref`, the data that the coupling leads to."
        raise ValueError(msg)
    source = adata if adata_ref is None else adata_ref
    try:
        rows = reference_expression(source, wanted, layer, use_raw=use_raw)
    except (KeyError, ValueError) as error:
        text = str(error.args[0]).replace("`var_names`", "`genes`", 1)
        raise type(error)(text if adata_ref is not None else text.replace("adata_ref", "adata")) from None
    table = source.raw.var_names if use_raw else source.var_names
    names = np.asarray(table if wanted is None else wanted, dtype=str)
    origin = rows.where.strip("`").replace("adata_ref.", "" if adata_ref is None else "adata_ref.")
    if adata_ref is not None:
        return _carried_over(adata, adata_ref, gw_key, rows, names, origin)
    if not rows.is_sparse:
        check_memory(rows.n_obs, 0 if rows.in_memory else rows.n_dims, "Expression", "give `genes`")
    values = _stacked(rows) if rows.is_sparse else rows.read_all()
    _warn_of_counts(values, origin)
    marked = adata.var.get("transferred")
    measured = use_raw or marked is None or not np.any(np.asarray(marked, dtype=bool))
    return Expression(values, names, np.arange(adata.n_obs), measured, origin)


def _stacked(rows: RowSource) -> sparse.csr_matrix:
    size = rows.block_size()
    starts = range(0, rows.n_obs, size)
    return sparse.vstack(
        [sparse.csr_matrix(rows.read(s, min(s + size, rows.n_obs), keep_sparse=True)) for s in starts], format="csr"
    )


def _from_obsm(adata: AnnData, use_rep: str, wanted: list[str] | None) -> Expression:
    table = require_key(adata, "obsm", use_rep, argument="use_rep")
    if not isinstance(table, pd.DataFrame):
        msg = (
            f"`use_rep={use_rep!r}` must be a table (DataFrame) with genes in columns, such as that of "
            f"`sae.tl.gw_transfer(adata, adata_ref, var_names=[...])`, found {type(table).__name__}."
        )
        raise TypeError(msg)
    missing = [name for name in wanted or [] if name not in table.columns]
    if missing:
        msg = f"`genes`: {missing[:5]} not found in `adata.obsm[{use_rep!r}]` with {list(table.columns[:5])}, ..."
        raise KeyError(msg)
    part = table if wanted is None else table[wanted]
    values = part.to_numpy(dtype=np.float32)
    slot = f"obsm[{use_rep!r}]"
    entries = [entry for name, entry in adata.uns.items() if name.endswith("_transfer") and hasattr(entry, "keys")]
    records = [entry.get("slots") for entry in entries]
    carried = any(isinstance(record, pd.DataFrame) and slot in record.index for record in records)
    # cells without mass in the coupling have no values at all
    cells = np.flatnonzero(~np.isnan(values).all(1)) if carried else np.arange(len(values))
    rows = RowSource(values[cells], where=f"`adata.{slot}`")
    rows.moments()
    return Expression(values[cells], part.columns.to_numpy().astype(str), cells, not carried, slot)


def _carried_over(
    adata: AnnData, adata_ref: AnnData, gw_key: str | None, rows: RowSource, names: np.ndarray, origin: str
) -> Expression:
    from saescape.transport._transfer import barycentric, conditional

    coupling = stored_coupling(adata, adata_ref, gw_key)
    cells = np.flatnonzero(coupling.mass > 0)
    check_memory(len(cells), rows.n_dims, "Expression carried over", "give `genes`")
    values = barycentric(conditional(coupling.plan[cells]), rows)
    warn_about(coupling)
    return Expression(values, names, cells, measured=False, origin=origin)


def _warn_of_counts(values: FloatArray | sparse.csr_matrix, origin: str) -> None:
    """Counts differ between cells by sequencing depth above all."""
    first = values[:_COUNTED_ROWS]
    entries = np.asarray(first.data if isinstance(first, sparse.csr_matrix) else first).ravel()
    if entries.size and entries.max(initial=0) > 1 and np.all(entries >= 0) and np.all(entries == np.rint(entries)):
        msg = (
            f"`adata.{origin}` looks like counts, whose differences are dominated by the depth of cells; normalise and "
            "take logarithms first (`sc.pp.normalize_total`, `sc.pp.log1p`)."
        )
        warnings.warn(msg, UserWarning, stacklevel=4)


def read_loadings(adata: AnnData, keys: SaeKeys, genes: str | Sequence[str] | None) -> tuple[FloatArray, np.ndarray]:
    """Loadings `(n_features, n_genes)` of the genes in the model, and their names.

    Raises
    ------
    KeyError
        If there is no linear path from the features to the genes, or a gene does not exist.
    """
    if keys.varm not in adata.varm:
        msg = (
            f"`model=True` needs loadings of the genes in `adata.varm[{keys.varm!r}]`; `sae.tl.sae_fit` writes them "
            "when it is fitted on `.X`, a layer, or on `X_pca` with `adata.varm['PCs']` at hand."
        )
        raise KeyError(msg)
    loadings = np.asarray(adata.varm[keys.varm], dtype=np.float64).T
    names = adata.var_names.to_numpy().astype(str)
    if genes is None:
        return loadings, names
    wanted = string_list("genes", genes)
    missing = [name for name in wanted if name not in adata.var_names]
    if missing or not wanted:
        msg = f"`genes`: {missing[:5]} not found in `adata.var_names`." if missing else "`genes` names no gene."
        raise KeyError(msg)
    place = adata.var_names.get_indexer(wanted)
    return loadings[:, place], names[place]
