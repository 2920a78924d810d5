"""Fitted sparse autoencoders as plain values in `uns` of an AnnData."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ._keys import PCS, X_PCA, sae_keys
from ._typing import Architecture
from ._validate import check_adata, missing_key, require_key
from .sae._weights import SaeWeights

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    from ._keys import SaeKeys
    from ._rep import Representation
    from ._typing import FloatArray

FORMAT = 1
_TENSORS = ("W_enc", "W_dec", "b_enc", "b_dec")
_EXTRA_TENSORS = {
    "batchtopk": ("threshold",),
    "matryoshka": ("threshold",),
    "jumprelu": ("threshold",),
    "gated": ("r_mag", "b_mag"),
}


@dataclass(frozen=True)
class StoredSae:
    """A fitted sparse autoencoder with all that is kept about it; tables may be missing in files of others."""

    weights: SaeWeights
    params: dict[str, Any]
    input_names: np.ndarray
    metrics: dict[str, float]
    history: pd.DataFrame | None = None
    features: pd.DataFrame | None = None
    groups: pd.DataFrame | None = None
    pilot: pd.DataFrame | None = None
    inputs: pd.DataFrame | None = None

    def to_uns(self) -> dict[str, Any]:
        """Nested dict of encodable values that shares nothing with this object."""
        entry: dict[str, Any] = {
            "format": FORMAT,
            "params": dict(self.params) | {"version": version("saescape")},
            "weights": {name: array.copy() for name, array in self.weights.arrays().items()},
            "metrics": dict(self.metrics),
            "input_names": np.asarray(self.input_names, dtype=str).astype(object),
        }
        for name in ("history", "features", "groups", "pilot", "inputs"):
            table = getattr(self, name)
            if table is not None:
                entry[name] = table.copy()
        return entry


def check_format(number: Any, where: str) -> None:
    """Raise when a format number is missing or of a newer version."""
    if number is None or int(number) > FORMAT:
        msg = f"{where} has format {number}, this version of saescape reads up to {FORMAT}; update saescape."
        raise ValueError(msg)


def build_weights(arrays: dict[str, Any], architecture: Any, k: Any, where: str) -> SaeWeights:
    """Check tensors from outside before they are used."""
    from typing import get_args

    missing = [name for name in _TENSORS if name not in arrays]
    if missing:
        msg = f"{where} has no tensors {missing}; it holds {sorted(arrays)}."
        raise ValueError(msg)
    if architecture not in get_args(Architecture):
        msg = f"{where} has architecture {architecture!r}; available: {list(get_args(Architecture))}."
        raise ValueError(msg)
    tensors = {name: np.array(array, dtype=np.float32, order="C") for name, array in arrays.items()}
    d, m = tensors["W_enc"].shape if tensors["W_enc"].ndim == 2 else (0, 0)
    shapes = {"W_enc": (d, m), "W_dec": (m, d), "b_enc": (m,), "b_dec": (d,)}
    shapes |= dict.fromkeys(_EXTRA_TENSORS.get(architecture, ()), (m,))
    if "scale" in tensors:
        shapes["scale"] = (d,)
    for name, shape in shapes.items():
        if name not in tensors or d == 0 or tensors[name].shape != shape:
            found = tensors[name].shape if name in tensors else "nothing"
            msg = f"{where}: tensor `{name}` must have shape {shape}, found {found}."
            raise ValueError(msg)
        if not np.isfinite(tensors[name]).all():
            msg = f"{where}: tensor `{name}` has non-finite values."
            raise ValueError(msg)
    if not isinstance(k, int | float | np.number) or not 1 <= int(k) <= m:
        msg = f"{where}: `k` must be between 1 and the number of features ({m}), found {k}."
        raise ValueError(msg)
    return SaeWeights(**{name: tensors[name] for name in shapes}, architecture=str(architecture), k=int(k))


def from_uns(adata: AnnData, key: str | None = None, *, adata_name: str = "adata") -> StoredSae:
    """Read the sparse autoencoder that is stored under `key`."""
    check_adata(adata, adata_name)
    name = sae_keys(key).uns
    if name not in adata.uns and key is not None:
        raise missing_key(name, f"{adata_name}.uns", adata.uns, argument="key")
    entry = require_key(adata, "uns", name, adata_name=adata_name)
    where = f"`{adata_name}.uns[{name!r}]`"
    if not hasattr(entry, "keys") or "weights" not in entry or "params" not in entry:
        msg = f"{where} is not a fitted sparse autoencoder; give the `key` that was `key_added` of `sae.tl.sae_fit`."
        raise ValueError(msg)
    check_format(entry.get("format"), where)
    params = {k: v.item() if isinstance(v, np.generic) else v for k, v in entry["params"].items()}
    weights = build_weights(dict(entry["weights"]), params.get("architecture"), params.get("k", 0), where)
    metrics = {k: float(v) for k, v in entry.get("metrics", {}).items()}
    # zarr gives numpy's variable-width strings, which do not cast
    names = np.array([str(name) for name in entry["input_names"]], dtype=str)
    tables = {name: entry.get(name) for name in ("history", "features", "groups", "pilot", "inputs")}
    return StoredSae(weights, params, names, metrics, **tables)


def decoder_loadings(adata: AnnData, rep: Representation, weights: SaeWeights) -> FloatArray | None:
    """Decoder directions in units of the variables `(n_vars, n_features)`, where they can be expressed so."""
    directions = weights.W_dec.T
    if rep.on_variables and rep.mask_var is not None:
        loadings = np.zeros((adata.n_vars, weights.n_features), dtype=np.float32)
        loadings[rep.mask_var] = directions
        return loadings
    if rep.on_variables or (len(rep.names) == adata.n_vars and np.array_equal(rep.names, adata.var_names)):
        return directions.copy() if len(directions) == adata.n_vars else None
    if rep.use_rep == X_PCA and PCS in adata.varm:
        components = np.asarray(adata.varm[PCS])
        if components.shape[1] == weights.n_dims:
            return (components @ directions).astype(np.float32)
    return None


def write_slots(
    adata: AnnData, keys: SaeKeys, stored: StoredSae, codes: sparse.csr_matrix, loadings: FloatArray | None
) -> str:
    """Write every slot of a fitted or applied model; returns the text for the log."""
    adata.obsm[keys.obsm] = codes
    adata.uns[keys.uns] = stored.to_uns()
    text = (
        f"added\n    `.obsm[{keys.obsm!r}]`, features (n_obs x {codes.shape[1]})\n    `.uns[{keys.uns!r}]`, the model"
    )
    if loadings is not None:
        adata.varm[keys.varm] = loadings
        text += f"\n    `.varm[{keys.varm!r}]`, feature loadings of the variables"
    elif keys.varm in adata.varm:
        # of an earlier run: it would not belong to this model
        del adata.varm[keys.varm]
    return text
