"""Fitted sparse autoencoders as plain values: in `uns` of an AnnData, in a safetensors file, or in SAELens' layout."""

from __future__ import annotations

import json
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ._keys import PCS, X_PCA, sae_keys
from ._typing import Architecture
from ._validate import check_adata, missing_key, require_key
from .sae._saelens import WRITTEN_AS, from_saelens, saelens_config, saelens_tensors
from .sae._weights import SaeWeights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from anndata import AnnData
    from scipy import sparse

    from ._keys import SaeKeys
    from ._rep import Representation
    from ._typing import FloatArray

FORMAT = 1
_HEADER = "saescape"
_TENSORS = ("W_enc", "W_dec", "b_enc", "b_dec")
_EXTRA_TENSORS = {
    "batchtopk": ("threshold",),
    "matryoshka": ("threshold",),
    "jumprelu": ("threshold",),
    "gated": ("r_mag", "b_mag"),
}
_SUFFIX = ".safetensors"
# SAELens' names of the two files of a folder
_CONFIG_FILE = "cfg.json"
_WEIGHTS_FILE = "sae_weights.safetensors"


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

    def to_uns(self) -> dict[str, Any]:
        """Nested dict of encodable values that shares nothing with this object."""
        entry: dict[str, Any] = {
            "format": FORMAT,
            "params": dict(self.params) | {"version": version("saescape")},
            "weights": {name: array.copy() for name, array in self.weights.arrays().items()},
            "metrics": dict(self.metrics),
            "input_names": np.asarray(self.input_names, dtype=str).astype(object),
        }
        for name in ("history", "features", "groups", "pilot"):
            table = getattr(self, name)
            if table is not None:
                entry[name] = table.copy()
        return entry


def _check_format(number: Any, where: str) -> None:
    if number is None or int(number) > FORMAT:
        msg = f"{where} has format {number}, this version of saescape reads up to {FORMAT}; update saescape."
        raise ValueError(msg)


def _build_weights(arrays: dict[str, Any], architecture: Any, k: Any, where: str) -> SaeWeights:
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
    _check_format(entry.get("format"), where)
    params = {k: v.item() if isinstance(v, np.generic) else v for k, v in entry["params"].items()}
    weights = _build_weights(dict(entry["weights"]), params.get("architecture"), params.get("k", 0), where)
    metrics = {k: float(v) for k, v in entry.get("metrics", {}).items()}
    # zarr gives numpy's variable-width strings, which do not cast
    names = np.array([str(name) for name in entry["input_names"]], dtype=str)
    tables = {name: entry.get(name) for name in ("history", "features", "groups", "pilot")}
    return StoredSae(weights, params, names, metrics, **tables)


def save_file(path: str | PathLike[str], stored: StoredSae) -> None:
    """Write one safetensors file, or a folder in SAELens' layout when the path does not end in `.safetensors`.

    Everything that SAELens does not know is JSON in the metadata of the tensor file. What was there before is replaced
    once the new file is complete.
    """
    path = Path(path)
    if path.suffix == _SUFFIX:
        _write_tensors(path, stored.weights.arrays(), stored)
        return
    if path.exists() and not path.is_dir():
        msg = f"{str(path)!r} is a file; give a folder to create, or a path that ends in {_SUFFIX!r} for one file."
        raise FileExistsError(msg)
    path.mkdir(exist_ok=True)
    _write_tensors(path / _WEIGHTS_FILE, saelens_tensors(stored.weights), stored)
    with _replacing(path / _CONFIG_FILE) as temporary:
        temporary.write_text(json.dumps(saelens_config(stored.weights), indent=2) + "\n", encoding="utf-8")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` that takes its place when nothing went wrong."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_tensors(path: Path, tensors: dict[str, FloatArray], stored: StoredSae) -> None:
    from safetensors.numpy import save_file as save

    plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in stored.params.items()}
    header = {
        "format": FORMAT,
        "params": plain | {"version": version("saescape")},
        "input_names": [str(name) for name in stored.input_names],
        "metrics": stored.metrics,
        "history": None if stored.history is None else stored.history.to_dict(orient="list"),
    }
    with _replacing(path) as temporary:
        save(tensors, temporary, metadata={_HEADER: json.dumps(header)})


def load_file(path: str | PathLike[str]) -> StoredSae:
    """Read what `save_file` wrote, or a folder that SAELens wrote; tensors and JSON only, nothing is executed."""
    path = Path(path)
    if path.name == _WEIGHTS_FILE and (path.parent / _CONFIG_FILE).is_file():
        path = path.parent
    if path.is_dir():
        return _load_folder(path)
    if not path.is_file():
        msg = f"There is no file {str(path)!r}, nor a folder of that name."
        raise FileNotFoundError(msg)
    where = f"File {str(path)!r}"
    arrays, header = _read_tensors(path, where)
    if header is None:
        msg = f"{where} has no saescape metadata (architecture and `k` are needed to use the tensors)."
        raise ValueError(msg)
    params = _params(header, where)
    weights = _build_weights(arrays, params.get("architecture"), params.get("k", 0), where)
    return _from_header(weights, params, header, where)


def _load_folder(path: Path) -> StoredSae:
    where = f"Folder {str(path)!r}"
    for name in (_CONFIG_FILE, _WEIGHTS_FILE):
        if not (path / name).is_file():
            msg = f"{where} has no file {name!r}; a folder in SAELens' layout holds {_CONFIG_FILE} and {_WEIGHTS_FILE}."
            raise FileNotFoundError(msg)
    try:
        config = json.loads((path / _CONFIG_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{where}: {_CONFIG_FILE} is not JSON: {error}."
        raise ValueError(msg) from error
    if not isinstance(config, dict):
        msg = f"{where}: {_CONFIG_FILE} must hold a JSON object, found {type(config).__name__}."
        raise ValueError(msg)
    arrays, header = _read_tensors(path / _WEIGHTS_FILE, f"{where}: {_WEIGHTS_FILE}")
    params = None if header is None else _params(header, where)
    try:
        read = from_saelens(config, arrays)
    except ValueError as error:
        msg = f"{where}: {error}"
        raise ValueError(msg) from error
    if header is None or params is None:
        weights = _build_weights(read.arrays(), read.architecture, read.k, where)
        # SAELens has no such setting: the weights act on raw input
        params = {"architecture": read.architecture, "k": read.k, "standardize": "none"}
        return StoredSae(weights, params, np.array([f"dim_{i}" for i in range(read.n_dims)]), {})
    architecture = params.get("architecture")
    if WRITTEN_AS.get(str(architecture), architecture) != config.get("architecture"):
        msg = (
            f"{where}: {_CONFIG_FILE} has architecture {config.get('architecture')!r}, but the weights are of a model "
            f"with architecture {architecture!r}; the two files do not belong together."
        )
        raise ValueError(msg)
    return _from_header(_build_weights(read.arrays(), architecture, params.get("k", 0), where), params, header, where)


def _read_tensors(path: Path, where: str) -> tuple[dict[str, FloatArray], dict[str, Any] | None]:
    """Tensors by name, and our metadata if there are any."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(metadata.get(_HEADER, "null"))
    # the last is for number formats that numpy has not
    except (SafetensorError, json.JSONDecodeError, TypeError) as error:
        msg = f"{where} is not a safetensors file that saescape wrote, or not a complete one: {error}."
        raise ValueError(msg) from error
    return arrays, header if isinstance(header, dict) else None


def _params(header: dict[str, Any], where: str) -> dict[str, Any]:
    _check_format(header.get("format"), where)
    params = dict(header.get("params", {}))
    if isinstance(params.get("mask_var"), list):
        params["mask_var"] = np.asarray(params["mask_var"], dtype=bool)
    return params


def _from_header(weights: SaeWeights, params: dict[str, Any], header: dict[str, Any], where: str) -> StoredSae:
    names = np.asarray(header.get("input_names", []), dtype=str)
    if names.shape != (weights.n_dims,):
        msg = f"{where} must name {weights.n_dims} input dimensions, found {names.size}."
        raise ValueError(msg)
    history = header.get("history")
    if history is not None:
        history = pd.DataFrame(history)
        history.index = history.index.astype(str)
    return StoredSae(weights, params, names, header.get("metrics", {}), history)


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
