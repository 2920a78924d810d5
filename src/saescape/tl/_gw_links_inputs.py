"""What `tl.gw_links` is given: features, genes, batches, and how the coupling was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from saescape._keys import sae_keys
from saescape._logging import logg
from saescape._rows import RowSource
from saescape._validate import check_finite, missing_key, require_key, string_list
from saescape.coupling._expression import reference_expression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from anndata import AnnData

    from saescape._typing import IntArray
    from saescape.transport._align import Settings

_MAX_GENES = 2000


@dataclass(frozen=True)
class Features:
    """Features that vary: csr float32 `(n_obs, n_features)` and their names."""

    codes: sparse.csr_matrix
    names: np.ndarray


def read_features(adata: AnnData, feature_key: str) -> Features:
    """Codes of a fitted sparse autoencoder, or the columns of another array in `.obsm`.

    Raises
    ------
    KeyError
        If there is neither.
    ValueError
        If the array is not two-dimensional, not finite, or no feature varies.
    """
    slots = sae_keys(None if feature_key in {"sae", "X_sae"} else feature_key)
    if slots.obsm not in adata.obsm:
        raise missing_key(slots.obsm, "adata.obsm", adata.obsm, argument="feature_key")
    data = adata.obsm[slots.obsm]
    where = f"`adata.obsm[{slots.obsm!r}]`"
    rows = RowSource(data, where=where)
    if rows.n_positions is not None:
        msg = f"{where} must have 2 dimensions, found shape {tuple(rows.data.shape)}; pool the positions first."
        raise ValueError(msg)
    codes = sparse.vstack(
        [
            sparse.csr_matrix(rows.read(s, min(s + rows.block_size(), rows.n_obs), keep_sparse=True))
            for s in range(0, rows.n_obs, rows.block_size())
        ],
        format="csr",
    )
    check_finite(codes.data, where)
    names = _feature_names(adata, slots.obsm, slots.uns, data, rows.n_dims)
    highest, lowest = (np.asarray(f(axis=0).todense()).ravel() for f in (codes.max, codes.min))
    varies = highest > lowest
    if not varies.any():
        msg = f"{where} has no feature that varies over the cells."
        raise ValueError(msg)
    if not varies.all():
        logg.info(f"    leaving out {int(np.sum(~varies))} of {len(varies)} features, which are constant or dead")
    return Features(codes[:, np.flatnonzero(varies)], names[varies])


def _feature_names(adata: AnnData, obsm: str, uns: str, data: Any, n: int) -> np.ndarray:
    if hasattr(data, "columns"):
        return np.asarray(data.columns, dtype=str)
    fit = adata.uns.get(uns)
    if hasattr(fit, "keys") and "weights" in fit and "features" in fit and len(fit["features"]) == n:
        return np.asarray(fit["features"].index, dtype=str)
    stem = obsm.removeprefix("X_")
    return np.array([f"{stem}_{i}" for i in range(n)])


@dataclass(frozen=True)
class Genes:
    """Genes to link: names, csr float32 `(n_ref, n_genes)`, and how they were chosen."""

    names: list[str]
    expression: sparse.csr_matrix
    chosen: str


def read_genes(adata_ref: AnnData, genes: str | Sequence[str] | None, layer: str | None) -> Genes:
    """Expression of the genes asked for; the highly variable or most variable ones if none are."""
    if genes is None:
        names, chosen = _variable_genes(adata_ref, layer)
        logg.info(f"    {len(names)} genes: {chosen}")
    else:
        names, chosen = string_list("genes", genes), "given"
        if not names:
            msg = "`genes` names no gene; give at least one, or None for the highly variable ones."
            raise ValueError(msg)
    try:
        rows = reference_expression(adata_ref, names, layer)
    except (KeyError, ValueError) as error:
        if genes is not None and error.args and str(error.args[0]).startswith("`var_names`"):
            raise type(error)(str(error.args[0]).replace("`var_names`", "`genes`", 1)) from None
        raise
    size = rows.block_size()
    blocks = [
        sparse.csr_matrix(rows.read(s, min(s + size, rows.n_obs), keep_sparse=True)) for s in range(0, rows.n_obs, size)
    ]
    return Genes(names, sparse.vstack(blocks, format="csr"), chosen)


def _variable_genes(adata_ref: AnnData, layer: str | None) -> tuple[list[str], str]:
    rows = reference_expression(adata_ref, None, layer)
    variance = rows.moments()[1]
    if "highly_variable" in adata_ref.var:
        mask = np.asarray(adata_ref.var["highly_variable"], dtype=bool) & (variance > 0)
        if mask.any():
            return adata_ref.var_names[mask].astype(str).tolist(), "`adata_ref.var['highly_variable']`"
    order = np.argsort(-variance, kind="stable")[:_MAX_GENES]
    order = np.sort(order[variance[order] > 0])
    if len(order) == 0:
        msg = f"{rows.where} has no gene that varies over the cells."
        raise ValueError(msg)
    return adata_ref.var_names[order].astype(str).tolist(), "those with the largest variance"


def read_batches(adata: AnnData, batch_key: str | None) -> IntArray | None:
    """Number of the batch of each cell, from 0; None without a column."""
    if batch_key is None:
        return None
    values = require_key(adata, "obs", batch_key, argument="batch_key")
    if values.isna().any():
        msg = f"`batch_key={batch_key!r}` is missing for {int(values.isna().sum())} observations; fill or remove them."
        raise ValueError(msg)
    return np.unique(np.asarray(values.astype(str), dtype=str), return_inverse=True)[1].ravel()


def read_settings(params: Mapping[str, Any], device: torch.device) -> Settings:
    """How the stored coupling was made."""
    from saescape.transport._align import Settings

    metric = params.get("metric", "geodesic")
    metrics = (metric,) if isinstance(metric, str) else tuple(str(name) for name in metric)
    n_neighbors = params.get("n_neighbors")
    return Settings(
        metrics,
        None if n_neighbors is None else int(n_neighbors),
        float(params.get("epsilon", 0.1)),
        int(params.get("n_starts", 8)),
        None,
        device,
        float(params.get("alpha", 1.0)),
    )
