"""Encoders in safetensors files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._files import replacing

from ._network import seeded_network

if TYPE_CHECKING:
    from os import PathLike

    from ._network import SmallNetwork

FORMAT = 1
# key of the metadata that tells such a file from any other: JSON with `format`, `params`, `n_channels`, `version`,
# `history` and `sampled`; `saescape_checkpoint` instead is an unfinished run, which is no encoder
HEADER = "saescape_encoder"


def write_network(
    path: str | PathLike[str],
    network: SmallNetwork,
    header: dict[str, Any],
    history: pd.DataFrame,
    sampled: pd.DataFrame | None,
) -> None:
    """Write tensors and, as JSON in the metadata, how they came about."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    tables = {
        "history": history.to_dict(orient="list"),
        "sampled": None if sampled is None else sampled.to_dict(orient="list"),
    }
    entry = header | {"format": FORMAT} | tables
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata={HEADER: json.dumps(entry, default=_plain)})


def read_network(
    path: str | PathLike[str],
) -> tuple[SmallNetwork, dict[str, Any], pd.DataFrame, pd.DataFrame | None]:
    """Read what :func:`write_network` wrote: the network, the header and both tables.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is another file, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.exists():
        msg = f"there is no file {str(path)!r}."
        raise FileNotFoundError(msg)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        msg = f"{str(path)!r} cannot be read as an encoder ({error})."
        raise ValueError(msg) from error
    if not isinstance(header, dict):
        msg = f"{str(path)!r} does not hold an encoder written by `ContrastiveEncoder.save`."
        raise ValueError(msg)
    if header.get("format", FORMAT + 1) > FORMAT:
        msg = f"{str(path)!r} has format {header.get('format')}, this saescape reads up to {FORMAT}; update it."
        raise ValueError(msg)
    try:
        n_dims = int(header["params"]["n_dims"])
        # not by the constructor, which would draw from the global generator
        network, _ = seeded_network(int(header["n_channels"]), n_dims, 0)
        network.load_state_dict(tensors)
        history = pd.DataFrame(header["history"])
        sampled = None if header["sampled"] is None else pd.DataFrame(header["sampled"])
    except (KeyError, TypeError, RuntimeError) as error:
        msg = f"{str(path)!r} is damaged: its header does not fit its tensors ({type(error).__name__}: {error})."
        raise ValueError(msg) from error
    return network.eval(), header, history, sampled


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
