from __future__ import annotations

from typing import TYPE_CHECKING

from ._logging import logg

if TYPE_CHECKING:
    import torch


def resolve_device(device: str | torch.device | None = None) -> torch.device:
    """Resolve the public `device` argument: None means cuda, then mps, then cpu; an accelerator is logged."""
    import torch

    if device is not None:
        try:
            resolved = torch.device(device)
        except RuntimeError as error:
            msg = f"`device` must name a torch device such as 'cpu', 'cuda' or 'mps', found {device!r}."
            raise ValueError(msg) from error
        if resolved.type == "cuda" and not torch.cuda.is_available():
            msg = f"`device={device!r}` was asked for, but torch finds no CUDA device; use `device='cpu'` or None."
            raise ValueError(msg)
        if resolved.type == "mps" and not torch.backends.mps.is_available():
            msg = f"`device={device!r}` was asked for, but torch finds no MPS device; use `device='cpu'` or None."
            raise ValueError(msg)
        return resolved
    if torch.cuda.is_available():
        resolved = torch.device("cuda")
    elif torch.backends.mps.is_available():
        resolved = torch.device("mps")
    else:
        return torch.device("cpu")
    logg.info(f"using device {resolved}")
    return resolved
