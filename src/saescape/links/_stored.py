"""Stored links of features to genes: fetched, checked, named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._keys import gw_links_key
from saescape._validate import check_adata, require_key, string_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from saescape._typing import BoolArray, FloatArray, IntArray

_TABLES = ("correlation", "zscore", "qvalue")
# in the order in which they are listed
_ALL_TABLES = ("correlation", "null_mean", "null_sd", "zscore", "pvalue", "qvalue", "n_batches", "correlation_sd")


@dataclass(frozen=True)
class StoredLinks:
    """What :func:`saescape.tl.gw_links` stored.

    `tables` are `(n_features, n_genes)` as they were stored, those of the batches among them if there were any;
    `module` has one name per gene or None, `modules` their order.
    """

    tables: dict[str, np.ndarray]
    features: pd.Index
    genes: pd.Index
    module: list[str | None]
    modules: list[str]
    entry: Mapping[str, Any]

    @property
    def correlation(self) -> FloatArray:
        return self.tables["correlation"].astype(float)

    @property
    def zscore(self) -> FloatArray:
        return self.tables["zscore"].astype(float)

    @property
    def qvalue(self) -> FloatArray:
        return self.tables["qvalue"].astype(float)

    def significant(self, max_qvalue: float) -> BoolArray:
        """Where `(n_features, n_genes)` the false discovery rate is low enough; NaN never is."""
        return self.qvalue <= max_qvalue

    @property
    def strength(self) -> FloatArray:
        """Absolute z-score, or correlation where nothing was tested; 0 where there is none."""
        tested = np.isfinite(self.zscore).any()
        return np.abs(np.nan_to_num(self.zscore if tested else self.correlation))

    @property
    def pvalue_global(self) -> float:
        return float(self.entry.get("pvalue_global", np.nan))

    def global_pvalue(self) -> str:
        """The test of all links together, in words."""
        return "global p not tested" if np.isnan(self.pvalue_global) else f"global p = {self.pvalue_global:.2g}"

    def verdict(self, max_qvalue: float) -> str:
        """How many links of the table are significant, as a title."""
        tested = np.isfinite(self.qvalue)
        if not tested.any():
            return "links not tested"
        n_links = int(self.significant(max_qvalue).sum())
        if n_links:
            return f"{n_links:,} significant link{'s' * (n_links != 1)} (q ≤ {max_qvalue:g}), {self.global_pvalue()}"
        smallest = self.qvalue[tested].min()
        return f"no significant link (q ≤ {max_qvalue:g}, smallest is {smallest:.2g}), {self.global_pvalue()}"


def stored_links(adata: AnnData, key: str | None) -> StoredLinks:
    """Fetch the links `key`.

    Raises
    ------
    KeyError
        If there are none.
    ValueError
        If their tables do not fit together.
    """
    check_adata(adata)
    name = gw_links_key(key)
    entry = require_key(adata, "uns", name, argument=None if key is None else "key")
    where = f"`adata.uns[{name!r}]`"
    if not isinstance(entry, Mapping) or not {*_TABLES, "features", "genes"} <= set(entry):
        msg = f"{where} holds no links; run `sae.tl.gw_links(adata, adata_ref)` first to create them."
        raise KeyError(msg)
    genes = entry["genes"]
    # strings of zarr files come in a dtype of their own
    features = pd.Index(np.asarray(entry["features"]).astype(object))
    tables = {table: np.asarray(entry[table]) for table in _ALL_TABLES if table in entry}
    for table, values in tables.items():
        if values.shape != (len(features), len(genes)):
            msg = (
                f"{where}[{table!r}] has shape {values.shape}, but there are {len(features)} features and "
                f"{len(genes)} genes; run `sae.tl.gw_links` again."
            )
            raise ValueError(msg)
    module: list[str | None] = [None] * len(genes)
    modules: list[str] = []
    if "module" in genes:
        column = genes["module"].astype("category")
        module = [None if pd.isna(value) else str(value) for value in column]
        order = entry["modules"].index if "modules" in entry else column.cat.categories
        modules = [str(value) for value in order]
        modules += sorted({value for value in module if value is not None} - set(modules))
    return StoredLinks(
        tables=tables,
        features=features,
        genes=pd.Index(np.asarray(genes.index).astype(object)),
        module=module,
        modules=modules,
        entry=entry,
    )


def positions(argument: str, wanted: str | Sequence[str], available: pd.Index) -> IntArray:
    """Where the names wanted are, in the order given.

    Raises
    ------
    KeyError
        If one is not there.
    ValueError
        If none is given.
    """
    names = string_list(argument, wanted)
    if not names:
        msg = f"`{argument}` is empty; give at least one name, or None for the strongest."
        raise ValueError(msg)
    missing = [name for name in names if name not in available]
    if missing:
        msg = (
            f"`{argument}`: {len(missing)} of {len(names)} have no links, such as {missing[0]!r}; available are "
            f"{list(available[:5])}{' and more' if len(available) > 5 else ''}."
        )
        raise KeyError(msg)
    return pd.Index(available).get_indexer_for(names)
