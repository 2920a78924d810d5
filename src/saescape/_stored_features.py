"""Fitted features of an AnnData: fetched, checked, and given new columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from saescape._keys import sae_keys
from saescape._validate import check_adata, check_finite, check_integer, missing_key, require_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from saescape._keys import SaeKeys
    from saescape._typing import BoolArray, IntArray


@dataclass(frozen=True)
class StoredFeatures:
    """Features of one fit: codes `(n_obs, n_features)` and their table."""

    keys: SaeKeys
    codes: sparse.csr_matrix
    table: pd.DataFrame
    entry: Mapping[str, Any]
    adata_name: str

    @property
    def names(self) -> pd.Index:
        return self.table.index

    @property
    def n_active(self) -> IntArray:
        """Observations in which each feature is active."""
        return np.bincount(self.codes.indices[self.codes.data > 0], minlength=self.codes.shape[1])

    @property
    def alive(self) -> BoolArray:
        """Features that are active in some observation."""
        return self.n_active > 0

    @property
    def decoder(self) -> np.ndarray:
        """Directions `(n_features, d)`."""
        where = f"`{self.adata_name}.uns[{self.keys.uns!r}]['weights']['W_dec']`"
        weights = self.entry.get("weights", {})
        if "W_dec" not in weights:
            msg = f"{where} not found; run `sae.tl.sae_fit({self.adata_name})` first to create it."
            raise KeyError(msg)
        decoder = np.asarray(weights["W_dec"], dtype=np.float32)
        if decoder.ndim != 2 or len(decoder) != self.codes.shape[1]:
            msg = f"{where} has shape {decoder.shape}, but there are {self.codes.shape[1]} features."
            raise ValueError(msg)
        check_finite(decoder, where)
        return decoder

    def positions(self, wanted: str | int | Sequence[str | int], argument: str) -> IntArray:
        """Numbers of features given by name or number."""
        return feature_positions(wanted, self.names, argument)


def feature_positions(wanted: Any, known: Sequence[str] | pd.Index, argument: str) -> IntArray:
    """Numbers of features given by name or number, in the order given.

    Raises
    ------
    KeyError
        For a name that is not known.
    ValueError
        For a number out of range, or if nothing is given.
    TypeError
        For anything else.
    """
    listed = [wanted] if isinstance(wanted, str) or not hasattr(wanted, "__iter__") else list(wanted)
    if not listed:
        msg = f"`{argument}` is empty; give at least one name or number."
        raise ValueError(msg)
    names = [str(name) for name in known]
    number = {name: i for i, name in enumerate(names)}
    found = []
    for item in listed:
        if not isinstance(item, str):
            found.append(check_integer(argument, item, 0, len(names) - 1, high_name="number of features - 1"))
        elif item in number:
            found.append(number[item])
        else:
            available = f"the {len(names)} features are {names[0]!r} ... {names[-1]!r}"
            msg = f"`{argument}`: there is no feature {item!r}; {available}."
            raise KeyError(msg)
    return np.array(found, dtype=np.int64)


def stored_features(
    adata: AnnData, key: str | None, *, adata_name: str = "adata", key_name: str = "key"
) -> StoredFeatures:
    """Fetch the features that are stored under `key`.

    Raises
    ------
    KeyError
        When there is no such fit.
    ValueError
        When codes and table do not fit together, or codes are negative or not finite.
    """
    check_adata(adata, adata_name)
    keys = sae_keys(key)
    argument = None if key is None else key_name
    if key is not None and keys.uns not in adata.uns:
        raise missing_key(keys.uns, f"{adata_name}.uns", adata.uns, argument=key_name)
    entry = require_key(adata, "uns", keys.uns, argument=argument, adata_name=adata_name)
    if not isinstance(entry, Mapping) or not {"weights", "features"} & set(entry):
        msg = (
            f"`{adata_name}.uns[{keys.uns!r}]` is not a fitted sparse autoencoder; give the `key_added` of "
            "`sae.tl.sae_fit`."
        )
        raise ValueError(msg)
    stored = require_key(adata, "obsm", keys.obsm, argument=argument, adata_name=adata_name)
    codes = sparse.csr_matrix(stored.to_numpy() if hasattr(stored, "to_numpy") else stored)
    where = f"`{adata_name}.obsm[{keys.obsm!r}]`"
    check_finite(codes.data, where)
    if codes.nnz and codes.data.min() < 0:
        msg = f"{where} has {int(np.sum(codes.data < 0))} negative values; codes are non-negative."
        raise ValueError(msg)
    if (codes.data == 0).any():
        codes = codes.copy()
        codes.eliminate_zeros()
    if codes.nnz == 0:
        msg = f"{where} has no active feature."
        raise ValueError(msg)
    table = entry.get("features")
    table = pd.DataFrame(index=[f"sae_{i}" for i in range(codes.shape[1])]) if table is None else table
    if len(table) != codes.shape[1]:
        msg = f"{where} has {codes.shape[1]} features, but their table has {len(table)} rows."
        raise ValueError(msg)
    return StoredFeatures(keys, codes, table, entry, adata_name)


def group_codes(adata: AnnData, column: str | None, argument: str) -> tuple[IntArray, pd.Index]:
    """Number of the group of each observation and the names; one group without a column."""
    if column is None:
        return np.zeros(adata.n_obs, np.int64), pd.Index(["all"])
    values = require_key(adata, "obs", column, argument=argument)
    if values.isna().any():
        msg = f"`{argument}={column!r}` is missing for {int(values.isna().sum())} observations."
        raise ValueError(msg)
    numbers, names = pd.factorize(values.astype(str), sort=True)
    return numbers.astype(np.int64), pd.Index(names)
