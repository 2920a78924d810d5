"""What an encoder is made from: modules, callables, files and names."""

from __future__ import annotations

import io
import json
import warnings
from copy import deepcopy
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ._weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPTED = (".pt", ".pth", ".ts", ".torchscript")
# key of the metadata that `ContrastiveEncoder.save` writes
_HEADER = "saescape_encoder"


@dataclass(frozen=True)
class Source:
    """A function of `(n, C, h, w)`, the module behind it, and what is known about its input."""

    function: Callable[[torch.Tensor], Any]
    module: torch.nn.Module | None
    name: str
    in_channels: int | None = None
    input_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def open_source(source: Any, weights: str | PathLike[str] | None, layer: str | int | None) -> Source:
    """Find out what `source` is, and load it when it is a file or a name."""
    if isinstance(source, str) and source.startswith("timm:"):
        from ._timm import timm_source

        return timm_source(source, weights, layer)
    if isinstance(layer, int):
        msg = f"`layer={layer}`: numbers are for the stages of timm models; give the name of a submodule."
        raise TypeError(msg)
    if isinstance(source, str | PathLike):
        return _file_source(Path(source), weights)
    module = module_of(source)
    if module is None and not callable(source):
        msg = (
            "`source` must be a torch module, a callable, the path of a TorchScript or safetensors file, or "
            f"'timm:NAME', found {type(source).__name__}."
        )
        raise TypeError(msg)
    if weights is not None:
        if not isinstance(source, torch.nn.Module) or isinstance(source, torch.jit.ScriptModule):
            msg = "`weights` needs a torch module or 'timm:NAME' as `source`."
            raise TypeError(msg)
        source = module = deepcopy(source)
        load_weights(module, weights)
    name = getattr(source, "__qualname__", type(source).__qualname__)
    return Source(source, module, name, in_channels=_first_channels(module))


def module_of(encoder: Any) -> torch.nn.Module | None:
    """Module that an encoder consists of or wraps."""
    if isinstance(encoder, torch.nn.Module):
        return encoder
    for attribute in ("module", "network_"):
        inner = getattr(encoder, attribute, None)
        if isinstance(inner, torch.nn.Module):
            return inner
    return None


def absolute(source: Any) -> Any:
    """Paths without reference to the working directory; anything else as it is."""
    is_path = isinstance(source, PathLike) or (isinstance(source, str) and not source.startswith("timm:"))
    return Path(source).absolute() if is_path else source


def as_bytes(source: Any) -> bytes | None:
    """A scripted module, which pickle cannot take, as the content of its file."""
    if not isinstance(source, torch.jit.ScriptModule):
        return None
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(source, buffer)
    return buffer.getvalue()


def from_bytes(content: bytes) -> torch.nn.Module:
    """Reverse of :func:`as_bytes`."""
    return _load_script(io.BytesIO(content))


def _load_script(file: Path | io.BytesIO) -> torch.nn.Module:
    with warnings.catch_warnings():
        # torch prefers other formats by now, but goes on reading this one
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(file, map_location="cpu")


def _file_source(path: Path, weights: Any) -> Source:
    if not path.is_file():
        msg = f"`source`: there is no file {str(path)!r} (names of timm's models are written 'timm:NAME')."
        raise FileNotFoundError(msg)
    if weights is not None:
        msg = "`weights` needs a torch module or 'timm:NAME' as `source`; a file brings its own."
        raise TypeError(msg)
    if path.suffix == ".safetensors":
        return _contrastive_source(path)
    if path.suffix.lower() not in SCRIPTED:
        msg = f"`source`: {path.name!r} is neither TorchScript ({', '.join(SCRIPTED)}) nor .safetensors."
        raise ValueError(msg)
    try:
        module = _load_script(path)
    except (RuntimeError, ValueError) as error:
        msg = (
            f"`source`: {str(path)!r} is not a TorchScript file. When it holds weights only, give the module or "
            f"'timm:NAME' as `source` and this path as `weights` ({str(error).splitlines()[0][:150]})."
        )
        raise ValueError(msg) from error
    return Source(module, module, path.name, in_channels=_first_channels(module))


def _contrastive_source(path: Path) -> Source:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "null"))
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        msg = f"`source`: {str(path)!r} is not a safetensors file, or not a complete one ({error})."
        raise ValueError(msg) from error
    if header is None:
        msg = (
            f"`source`: {str(path)!r} holds weights without their architecture; give the module or 'timm:NAME' as "
            "`source` and this path as `weights`."
        )
        raise ValueError(msg)
    from saescape.models import ContrastiveEncoder

    encoder = ContrastiveEncoder.load(path)
    return Source(encoder, encoder.network_, path.name, in_channels=encoder.n_channels_)


def _first_channels(module: torch.nn.Module | None) -> int | None:
    """Input channels of the first convolution in the order of definition, if there is one."""
    if module is None:
        return None
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d):
            return part.in_channels
    # scripted modules hide the class
    weight = next((value for value in module.parameters() if value.ndim == 4), None)
    return None if weight is None else int(weight.shape[1])
