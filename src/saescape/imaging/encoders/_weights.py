"""Weights from local files into modules that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from saescape._logging import logg

if TYPE_CHECKING:
    from os import PathLike

    import torch

# what training programs put around the tensors
_NESTED = ("state_dict", "model_state_dict", "model", "teacher", "state")
_SHOWN = 5


def read_weights(path: str | PathLike[str]) -> dict[str, torch.Tensor]:
    """Tensors by name from a safetensors file or one of `torch.save`; nothing in the file is executed."""
    import torch

    path = Path(path)
    if not path.is_file():
        msg = f"`weights`: there is no file {str(path)!r}."
        raise FileNotFoundError(msg)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors: Any = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        msg = f"`weights`: {str(path)!r} cannot be read as tensors by name ({type(error).__name__}: {_first(error)})."
        raise ValueError(msg) from error
    while isinstance(tensors, dict) and not any(isinstance(value, torch.Tensor) for value in tensors.values()):
        inner = next((tensors[key] for key in _NESTED if isinstance(tensors.get(key), dict)), None)
        if inner is None:
            break
        tensors = inner
    if not isinstance(tensors, dict) or not any(isinstance(value, torch.Tensor) for value in tensors.values()):
        msg = f"`weights`: {str(path)!r} holds no tensors by name (a `state_dict` is needed)."
        raise ValueError(msg)
    return {str(name): value for name, value in tensors.items() if isinstance(value, torch.Tensor)}


def load_weights(module: torch.nn.Module, path: str | PathLike[str]) -> None:
    """Put the tensors of a file into a module; all that it needs must be there in the right shapes."""
    expected = module.state_dict()
    found = _renamed(read_weights(path), set(expected), path)
    missing = sorted(set(expected) - set(found))
    if missing:
        msg = (
            f"`weights`: {str(path)!r} lacks {len(missing)} of the {len(expected)} tensors of the encoder "
            f"({_some(missing)}); it has {_some(sorted(found))}. Weights and architecture must belong together."
        )
        raise ValueError(msg)
    wrong = [name for name in expected if expected[name].shape != found[name].shape]
    if wrong:
        name = wrong[0]
        msg = (
            f"`weights`: {len(wrong)} tensors of {str(path)!r} have another shape than the encoder's, such as {name} "
            f"{tuple(found[name].shape)} for {tuple(expected[name].shape)}."
        )
        raise ValueError(msg)
    unused = sorted(set(found) - set(expected))
    if unused:
        logg.info(f"    {len(unused)} tensors of the file are not part of the encoder: {_some(unused)}")
    module.load_state_dict({name: found[name] for name in expected})


def _renamed(tensors: dict[str, torch.Tensor], expected: set[str], path: Any) -> dict[str, torch.Tensor]:
    """Without the prefix (`module.`, `backbone.`) under which the expected names are found."""
    if not expected or expected <= set(tensors):
        return tensors
    probe = max(expected, key=len)
    prefixes = [name.removesuffix(probe) for name in tensors if name.endswith(f".{probe}")]
    complete = [prefix for prefix in prefixes if all(prefix + name in tensors for name in expected)]
    if len(complete) > 1:
        msg = (
            f"`weights`: {str(path)!r} holds the encoder several times ({_some(complete)}); save one of them to a "
            "file of its own."
        )
        raise ValueError(msg)
    return {name.removeprefix(complete[0]): value for name, value in tensors.items()} if complete else tensors


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
