"""What `tl.steer` edits: rows as they are stored, their codes, and the way from them to the variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from saescape._keys import PCS, X_PCA
from saescape._rep import get_representation
from saescape._store import from_uns
from saescape.steering._edit import shifted
from saescape.steering._effects import CallableDecoder, LinearDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from anndata import AnnData

    from saescape._rep import Representation
    from saescape._stored_features import StoredFeatures
    from saescape._typing import FloatArray, IntArray
    from saescape.steering._effects import Decoder


@dataclass(frozen=True)
class Steerable:
    """Rows `(n, d)` of the representation, or of all its positions, with their codes.

    Parameters
    ----------
    rows
        Dense or sparse.
    codes
        `(n, n_features)`.
    decoder
        Directions of all features `(n_features, d)`; 0 for variables that were not fitted.
    n_positions
        Rows that belong to one observation.
    fitted
        Numbers of the columns that were fitted; None for all.
    bias
        Of the decoder, in the fitted columns.
    """

    rows: Any
    codes: sparse.csr_matrix
    decoder: FloatArray
    n_positions: int
    fitted: IntArray | None
    bias: FloatArray | None

    def edited(self, features: IntArray, change: FloatArray, *, keep_error: bool) -> Any:
        """Rows after the codes of some features have changed."""
        base = self.rows if keep_error else self._decoded()
        result = shifted(base, change, self.decoder[features])
        if self.n_positions == 1:
            return result
        return np.asarray(result).reshape(-1, self.n_positions, result.shape[1])

    def _decoded(self) -> FloatArray:
        if self.bias is None:
            msg = "`keep_error=False` needs the bias of the decoder (`b_dec`), which is not stored with this model."
            raise ValueError(msg)
        dtype = self.rows.dtype if np.issubdtype(self.rows.dtype, np.floating) else np.float32
        decoded = np.asarray(self.codes @ self.decoder)
        if self.fitted is None:
            return (decoded + self.bias).astype(dtype)
        # variables that were not fitted have no reconstruction
        result = self.rows.toarray() if sparse.issparse(self.rows) else np.array(self.rows)
        result = result.astype(dtype)
        result[:, self.fitted] = decoded[:, self.fitted] + self.bias
        return result

    def pooled(self, values: Any) -> Any:
        """Mean over the positions of each observation."""
        if self.n_positions == 1:
            return values
        return np.asarray(values).reshape(-1, self.n_positions, values.shape[1]).mean(1, dtype=np.float64)


def steerable(adata: AnnData, features: StoredFeatures, key: str | None) -> tuple[Steerable, Representation]:
    """Fetch everything that an edit needs.

    Raises
    ------
    KeyError
        When the representation that the model was fitted on, or the decoder, is gone.
    ValueError
        When dimensions do not fit.
    """
    params = features.entry.get("params", {})
    rep = get_representation(adata, params.get("use_rep"), params.get("layer"))
    decoder, bias = features.decoder, features.entry["weights"].get("b_dec")
    bias = None if bias is None else np.asarray(bias, dtype=np.float32)
    source, fitted = rep.rows, None
    if rep.on_variables and "input_names" in features.entry:
        fitted = adata.var_names.get_indexer([str(name) for name in features.entry["input_names"]])
        if (fitted < 0).any():
            missing = str(features.entry["input_names"][int(np.argmax(fitted < 0))])
            msg = f"`adata` lacks {int((fitted < 0).sum())} of the variables that the model was fitted on: {missing!r}."
            raise ValueError(msg)
        full = np.zeros((len(decoder), adata.n_vars), dtype=np.float32)
        full[:, fitted] = decoder
        decoder = full
    if source.n_dims != decoder.shape[1]:
        msg = f"{source.where} has {source.n_dims} dimensions, but the model was fitted on {decoder.shape[1]}."
        raise ValueError(msg)
    rows = source.data if source.in_memory else source.read_all()
    codes, n_positions = features.codes, source.n_positions or 1
    if source.n_positions is not None:
        rows = np.asarray(rows).reshape(-1, source.n_dims)
        codes = _codes_of_positions(adata, rows, key)
    return Steerable(rows, codes, decoder, n_positions, fitted, bias), rep


def _codes_of_positions(adata: AnnData, rows: FloatArray, key: str | None) -> sparse.csr_matrix:
    """Stored codes are means over positions: each position is coded again, as the model did."""
    from saescape.sae._recoder import model_recoder
    from saescape.sae._rule import CodingRule

    stored = from_uns(adata, key)
    l0 = stored.metrics.get("l0", 1.0)
    return model_recoder(stored.weights, CodingRule.from_params(stored.params), l0).encode(rows)


def variable_decoder(
    adata: AnnData, rep: Representation, decoder: Callable[[Any], Any] | None, probe: FloatArray
) -> tuple[Decoder | None, np.ndarray | pd.Index, str]:
    """From the representation to variables: the decoder, names of the variables, and which way it is.

    Parameters
    ----------
    decoder
        Given by the user.
    probe
        Some rows, on which it is tried before any work is done.
    """
    if decoder is not None:
        if not callable(decoder):
            msg = f"`decoder` must be a function of rows (n, d), found {type(decoder).__name__}."
            raise TypeError(msg)
        return _checked(decoder, probe, adata)
    if rep.on_variables or np.array_equal(rep.names, adata.var_names):
        return LinearDecoder(None), adata.var_names, "variables"
    if rep.use_rep == X_PCA and PCS in adata.varm:
        components = np.asarray(adata.varm[PCS], dtype=np.float64)
        if components.shape[1] == rep.rows.n_dims:
            return LinearDecoder(components.T), adata.var_names, "PCs"
    return None, np.array([], dtype=object), "none"


def _checked(
    decoder: Callable[[Any], Any], probe: FloatArray, adata: AnnData
) -> tuple[Decoder, np.ndarray | pd.Index, str]:
    out = decoder(probe.astype(np.float32))
    array = np.asarray(out)
    if array.ndim != 2 or len(array) != len(probe) or not np.isfinite(array).all():
        msg = (
            f"`decoder` must return finite values (n, n_variables), found shape {array.shape} for {len(probe)} rows of "
            f"{probe.shape[1]} dimensions."
        )
        raise ValueError(msg)
    if hasattr(out, "columns"):
        names = np.asarray(out.columns, dtype=str)
    else:
        same = array.shape[1] == adata.n_vars
        names = adata.var_names if same else np.array([f"decoded_{i}" for i in range(array.shape[1])])
    return CallableDecoder(decoder), names, "decoder"
