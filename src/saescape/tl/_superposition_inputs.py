"""What `tl.superposition_score` takes from an AnnData, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from saescape._validate import check_finite, require_key

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._keys import SaeKeys
    from saescape._rows import RowSource
    from saescape._typing import FloatArray, IntArray


def fitted_codes(adata: AnnData, slots: SaeKeys) -> tuple[sparse.csr_matrix, FloatArray]:
    """Codes and decoder of the fit, checked."""
    fit = require_key(adata, "uns", slots.uns, argument=None if slots.uns == "sae" else "key")
    where = f"`adata.uns[{slots.uns!r}]['weights']['W_dec']`"
    if not hasattr(fit, "keys") or "W_dec" not in dict(fit.get("weights", {})):
        msg = f"{where} not found; run `sae.tl.sae_fit(adata)` first to create it."
        raise KeyError(msg)
    stored = require_key(adata, "obsm", slots.obsm, argument=None if slots.obsm == "X_sae" else "key")
    stored = stored.to_numpy() if hasattr(stored, "to_numpy") else stored
    codes, decoder = sparse.csr_matrix(stored), np.asarray(fit["weights"]["W_dec"])
    if adata.n_obs < 2:
        msg = f"At least 2 observations are needed to compare cells, found {adata.n_obs}."
        raise ValueError(msg)
    if decoder.ndim != 2 or codes.shape[1] != decoder.shape[0]:
        msg = (
            f"`adata.obsm[{slots.obsm!r}]` has {codes.shape[1]} features, but {where} has shape {decoder.shape} "
            "(features x dimensions); they must come from the same fit."
        )
        raise ValueError(msg)
    check_finite(codes.data, f"`adata.obsm[{slots.obsm!r}]`")
    check_finite(decoder, where)
    if codes.nnz and codes.data.min() < 0:
        msg = f"`adata.obsm[{slots.obsm!r}]` has {int(np.sum(codes.data < 0))} negative values; codes are non-negative."
        raise ValueError(msg)
    used = np.asarray(codes.sum(0)).ravel() * np.linalg.norm(decoder, axis=1)
    if not used.any():
        msg = (
            f"`adata.obsm[{slots.obsm!r}]` has no active feature: every code, or every row of the decoder in use, is 0."
        )
        raise ValueError(msg)
    return codes, decoder


def block_numbers(adata: AnnData, batch_key: str | None) -> IntArray:
    """Number of the batch of each cell; one batch without a column."""
    if batch_key is None:
        return np.zeros(adata.n_obs, dtype=np.int64)
    values = require_key(adata, "obs", batch_key, argument="batch_key")
    if values.isna().any():
        msg = f"`batch_key={batch_key!r}` is missing for {int(values.isna().sum())} observations."
        raise ValueError(msg)
    blocks = pd.factorize(values)[0].astype(np.int64)
    if np.bincount(blocks).max() < 2:
        msg = f"`batch_key={batch_key!r}` has a single observation in every batch; nothing can be permuted."
        raise ValueError(msg)
    return blocks


def pooled_rows(rows: RowSource, sample: IntArray) -> FloatArray:
    """Rows of the sampled cells, mean over positions, float64."""
    size = rows.block_size()
    parts = []
    for low in range(0, len(sample), size):
        block = rows.take(sample[low : low + size]).astype(np.float64)
        parts.append(block.mean(1) if block.ndim == 3 else block)
    return np.concatenate(parts)
