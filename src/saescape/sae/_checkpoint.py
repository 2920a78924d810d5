"""The state of a training run in one file, so that a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._files import replacing

if TYPE_CHECKING:
    from os import PathLike

    import torch

FORMAT = 1
# seconds between two writes
INTERVAL = 30.0
_HEADER = "saescape_checkpoint"


class Checkpoint:
    """One file with tensors and numbers of a run, and with what identifies the run.

    Parameters
    ----------
    path
        File; it is read when it exists.

    Raises
    ------
    ValueError
        When the file is something else, truncated, or written by a newer version.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._written = time.monotonic()
        self._identity: dict[str, Any] = {}
        self._header: dict[str, Any] | None = None
        self._tensors: dict[str, torch.Tensor] = {}
        if self.path.exists():
            self._read()

    @property
    def exists(self) -> bool:
        """Whether there is a run to continue."""
        return self._header is not None

    def _read(self) -> None:
        from safetensors import SafetensorError, safe_open

        where = f"`checkpoint={str(self.path)!r}`"
        try:
            with safe_open(self.path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get(_HEADER, "null"))
                self._tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, json.JSONDecodeError) as error:
            msg = f"{where} cannot be read as a checkpoint ({error}); give another path, or delete it to start anew."
            raise ValueError(msg) from error
        if not isinstance(header, dict):
            msg = f"{where} is not a checkpoint of a training run; give another path."
            raise ValueError(msg)
        if header.get("format", FORMAT + 1) > FORMAT:
            msg = f"{where} has format {header.get('format')}, this saescape reads up to {FORMAT}; update it."
            raise ValueError(msg)
        self._header = header

    def adopt_generator(self, rng: np.random.Generator) -> None:
        """Put a generator into the state in which that of the interrupted run was."""
        if self._header is not None:
            rng.bit_generator.state = self._header["identity"]["rng"]

    def identify(self, **identity: Any) -> None:
        """Say what the run is. What is stored must say the same.

        Parameters
        ----------
        identity
            Plain values, and arrays of numbers that may differ by rounding.

        Raises
        ------
        ValueError
            When the file belongs to another run.
        """
        self._identity = json.loads(json.dumps(identity, default=lambda array: np.asarray(array).tolist()))
        if self._header is None:
            return
        stored = self._header["identity"]
        different = [name for name, value in self._identity.items() if not _equal(stored.get(name), value)]
        if different:
            pairs = "; ".join(f"`{name}` was {_short(stored.get(name))}" for name in different)
            msg = (
                f"`checkpoint={str(self.path)!r}` belongs to another run: {pairs}. "
                "Call with the same data and settings, or give another path."
            )
            raise ValueError(msg)

    def load(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors and numbers of the last write."""
        header = self._header
        if header is None:
            msg = "There is nothing to continue from."
            raise ValueError(msg)
        return self._tensors, header["numbers"]

    def due(self) -> bool:
        """Whether the last write is long ago."""
        return time.monotonic() - self._written >= INTERVAL

    def save(self, tensors: dict[str, torch.Tensor], numbers: dict[str, Any]) -> None:
        """Replace the file by the present state."""
        from safetensors.torch import save_file

        header = {"format": FORMAT, "identity": self._identity, "numbers": numbers}
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with replacing(self.path) as temporary:
            save_file(plain, temporary, metadata={_HEADER: json.dumps(header)})
        self._written = time.monotonic()


def _equal(stored: Any, value: Any) -> bool:
    if isinstance(value, list) and isinstance(stored, list) and len(value) == len(stored):
        return bool(np.allclose(stored, value, rtol=1e-4, atol=1e-6 * float(np.abs(value).max(initial=0.0))))
    return bool(stored == value)


def _short(value: Any) -> str:
    if isinstance(value, list | dict):
        return "different"
    return repr(value)
