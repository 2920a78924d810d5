"""Fitted sparse autoencoders in a safetensors file, or in a folder in SAELens' layout."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ._files import replacing
from ._store import FORMAT, StoredSae, build_weights, check_format
from .sae._saelens import WRITTEN_AS, from_saelens, saelens_config, saelens_tensors

if TYPE_CHECKING:
    from os import PathLike

    from ._typing import FloatArray
    from .sae._weights import SaeWeights

_HEADER = "saescape"
_SUFFIX = ".safetensors"
# SAELens' names of the two files of a folder
_CONFIG_FILE = "cfg.json"
_WEIGHTS_FILE = "sae_weights.safetensors"


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
    with replacing(path / _CONFIG_FILE) as temporary:
        temporary.write_text(json.dumps(saelens_config(stored.weights), indent=2) + "\n", encoding="utf-8")


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
    if stored.weights.scale is not None:
        # SAELens has no such tensor
        header["scale"] = stored.weights.scale.tolist()
    with replacing(path) as temporary:
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
    weights = build_weights(arrays, params.get("architecture"), params.get("k", 0), where)
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
        weights = build_weights(read.arrays(), read.architecture, read.k, where)
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
    tensors = read.arrays() | ({"scale": header["scale"]} if "scale" in header else {})
    return _from_header(build_weights(tensors, architecture, params.get("k", 0), where), params, header, where)


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
    check_format(header.get("format"), where)
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
