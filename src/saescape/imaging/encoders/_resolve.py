"""From what was given as `encoder` to a function of crops."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch

from ._source import module_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def resolve_encoder(
    encoder: Any, channel_names: Sequence[str]
) -> tuple[Callable[[torch.Tensor], Any], list[str] | None]:
    """Function of crops (n, C, h, w), and the names of its dimensions where they are known before it runs.

    See :func:`dimension_names` for the names afterwards. Files, `"timm:NAME"`, modules and callables become an
    :class:`saescape.models.ImageEncoder` that takes the channels as they are.
    """
    from saescape.models import ImageEncoder

    encoder = open_encoder(encoder)
    if isinstance(encoder, str):
        from ._filters import FilterBank, filter_names

        return FilterBank(), filter_names(channel_names)
    return (encoder.for_channels(channel_names), None) if isinstance(encoder, ImageEncoder) else (encoder, None)


def open_encoder(encoder: Any) -> Any:
    """Load what is a file or a name, so that errors come before any pixel is read; `"filters"` stays as it is."""
    from saescape.models import ContrastiveEncoder, ImageEncoder

    if isinstance(encoder, ContrastiveEncoder | ImageEncoder) or (isinstance(encoder, str) and encoder == "filters"):
        return encoder
    return ImageEncoder(encoder)


def dimension_names(encoder: Any, names: Sequence[str] | None, n_dims: int) -> list[str]:
    """Names of the dimensions that a resolved encoder returned."""
    if names is not None:
        return list(names)
    found = encoder.output_names(n_dims) if hasattr(encoder, "output_names") else None
    return found or [f"image_{i}" for i in range(n_dims)]


def describe_encoder(encoder: Any) -> dict[str, Any]:
    """Strings, numbers and lists of them that tell one resolved encoder from another.

    `weights` is a digest of all tensors; callables without a module are known by their name only.
    """
    found = dict(encoder.config) if hasattr(encoder, "config") and isinstance(encoder.config, dict) else {}
    found.setdefault("name", getattr(encoder, "__qualname__", type(encoder).__qualname__))
    module = module_of(encoder)
    if module is not None:
        found["weights"] = _digest(module)
    return found


def _digest(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            digest.update(f"{name} {value!r}".encode())
            continue
        # the bytes, as numpy lacks some of torch's types
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()[:16]
