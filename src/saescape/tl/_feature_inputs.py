"""What the annotation of features reads from an AnnData, and how it writes columns to their table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from saescape._keys import annotation_keys
from saescape._stored_features import stored_features
from saescape._validate import require_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from anndata import AnnData
    from scipy import sparse

    from saescape._keys import AnnotationKeys, SaeKeys

_DEFAULTS = ("sae_genes", "sae_enrichment", "sae_concepts")


@dataclass(frozen=True)
class FittedFeatures:
    """Codes `(n_obs, n_features)`, names, the table of the features and the slots."""

    codes: sparse.csr_matrix
    names: np.ndarray
    table: pd.DataFrame
    keys: SaeKeys
    slots: AnnotationKeys

    @property
    def where(self) -> str:
        return f"`adata.obsm[{self.keys.obsm!r}]`"


def read_fitted(adata: AnnData, key: str | None) -> FittedFeatures:
    """Codes of the fit `key`, checked.

    Raises
    ------
    KeyError
        If there is no such fit.
    ValueError
        If codes, model and table do not belong together, or codes are negative or not finite.
    """
    stored = stored_features(adata, key)
    names = stored.names.to_numpy().astype(str)
    return FittedFeatures(stored.codes, names, stored.table, stored.keys, annotation_keys(key))


def add_columns(adata: AnnData, keys: SaeKeys, columns: Mapping[str, Any]) -> None:
    """Write columns to the table of the features; those given as None are taken out."""
    entry = dict(adata.uns[keys.uns])
    table = entry["features"].copy()
    for name, values in columns.items():
        if values is None:
            table = table.drop(columns=name, errors="ignore")
        else:
            table[name] = values
    entry["features"] = table
    adata.uns[keys.uns] = entry


def stored_result(adata: AnnData, slot: str, keys: SaeKeys, column: str) -> dict[str, Any]:
    """Result of an earlier step of the annotation, if it belongs to the model as it is now.

    Raises
    ------
    KeyError
        If it was not run.
    ValueError
        If the model was fitted again since then: the table of the features then lacks the column the step wrote.
    """
    if slot not in adata.uns and slot not in _DEFAULTS:
        tool = f"sae.tl.feature_{slot.rpartition('_')[2]}"
        msg = f"Key {slot!r} not found in `adata.uns`. Run `{tool}(adata, ..., key={keys.uns!r})` first to create it."
        raise KeyError(msg)
    entry = require_key(adata, "uns", slot)
    if not hasattr(entry, "keys") or "results" not in entry:
        msg = f"`adata.uns[{slot!r}]` holds no annotation of features; run it again."
        raise ValueError(msg)
    if column not in adata.uns[keys.uns]["features"]:
        msg = f"`adata.uns[{slot!r}]` is older than the model in `adata.uns[{keys.uns!r}]`; run that step again."
        raise ValueError(msg)
    return dict(entry)


def as_text(values: Iterable[Any]) -> np.ndarray:
    """Text of each feature as plain objects, empty where there is none, so that every file format takes it."""
    return pd.Series(["" if value is None else str(value) for value in values], dtype=object).to_numpy()
