"""Output of a named part of a module."""

from __future__ import annotations

from difflib import get_close_matches
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

# a hook sees the calls of all threads
_LOCK = Lock()
_SHOWN = 8


class _Reached(BaseException):
    """Ends a forward pass once the layer has been computed."""

    def __init__(self, output: Any) -> None:
        self.output = output


def find_layer(module: torch.nn.Module | None, layer: str) -> torch.nn.Module:
    """Submodule of that name."""
    if module is None or isinstance(module, torch.jit.ScriptModule):
        what = "a callable" if module is None else "TorchScript"
        msg = f"`layer={layer!r}` cannot be read from {what}; it needs a torch module or 'timm:NAME'."
        raise TypeError(msg)
    names = [name for name, _ in module.named_modules() if name]
    if layer not in names:
        close = get_close_matches(layer, names, n=_SHOWN, cutoff=0.4) or names[:_SHOWN]
        msg = f"`layer={layer!r}` is no part of {type(module).__name__}; it has {close} (of {len(names)})."
        raise ValueError(msg)
    return module.get_submodule(layer)


def output_of_layer(
    function: Callable[[torch.Tensor], Any], part: torch.nn.Module, layer: str, crops: torch.Tensor
) -> Any:
    """Run until `part` is reached for the first time; what would follow is not computed."""

    def stop(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        raise _Reached(output)

    with _LOCK:
        hook = part.register_forward_hook(stop)
        try:
            function(crops)
        except _Reached as reached:
            return reached.output
        finally:
            hook.remove()
    msg = f"`layer={layer!r}` is never used when the encoder runs."
    raise ValueError(msg)
