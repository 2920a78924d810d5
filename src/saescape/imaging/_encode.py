"""Run an encoder over batches of crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from saescape._logging import logg
from saescape._memory import available_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from saescape._typing import FloatArray, IntArray


@dataclass(frozen=True)
class Encoded:
    """Pooled vectors (n, d), and with maps their grid (h, w) and, when asked for, the tokens (n, h * w, d)."""

    pooled: FloatArray
    grid: tuple[int, int] | None
    tokens: FloatArray | None


def rebatch(pieces: Iterable[tuple[IntArray, np.ndarray]], size: int) -> Iterator[tuple[IntArray, np.ndarray]]:
    """Join consecutive pieces of crops of one shape into batches of up to `size`."""
    rows: list[IntArray] = []
    crops: list[np.ndarray] = []
    waiting = 0
    for piece_rows, piece in pieces:
        if waiting and (waiting + len(piece) > size or piece.shape[1:] != crops[0].shape[1:]):
            yield np.concatenate(rows), np.concatenate(crops)
            rows, crops, waiting = [], [], 0
        rows.append(piece_rows)
        crops.append(piece)
        waiting += len(piece)
    if waiting:
        yield np.concatenate(rows), np.concatenate(crops)


def encode_crops(
    encoder: Callable[[torch.Tensor], Any],
    batches: Iterable[tuple[IntArray, np.ndarray]],
    n_obs: int,
    *,
    pool: str,
    keep_tokens: bool,
    device: torch.device,
) -> Encoded:
    """Encode batches of (rows, crops); the encoder is in evaluation mode meanwhile and left as it was found."""
    pooled: np.ndarray | None = None
    tokens: np.ndarray | None = None
    grid: tuple[int, int] | None = None
    with _Evaluating(encoder, device), torch.inference_mode():
        for rows, crops in batches:
            batch = torch.from_numpy(crops).to(device)
            encoded = _checked(encoder(batch), len(crops))
            if pooled is None:
                _check_independent(encoder, batch, encoded)
                pooled = np.empty((n_obs, encoded.shape[1]), dtype=np.float32)
                grid = (encoded.shape[2], encoded.shape[3]) if encoded.ndim == 4 else None
                if keep_tokens:
                    tokens = _allocate_tokens(n_obs, encoded)
            if encoded.shape[1] != pooled.shape[1] or (encoded.ndim == 4) != (grid is not None):
                msg = f"`encoder` returned {tuple(encoded.shape[1:])} after ({pooled.shape[1]}, ...) for earlier crops."
                raise ValueError(msg)
            if tokens is not None:
                if encoded.shape[2:] != grid:
                    msg = (
                        f"`tokens=True` needs maps of one size; `encoder` returned {tuple(encoded.shape[2:])} after "
                        f"{grid}. Give images of one shape or `tile_size`."
                    )
                    raise ValueError(msg)
                tokens[rows] = encoded.flatten(2).transpose(1, 2).cpu().numpy()
            if encoded.ndim == 4:
                encoded = encoded.mean((2, 3)) if pool == "mean" else encoded.amax((2, 3))
            pooled[rows] = encoded.cpu().numpy()
    if pooled is None:
        msg = "there are no crops to encode."
        raise ValueError(msg)
    return Encoded(pooled, grid, tokens)


class _Evaluating:
    """Context in which a module is on `device` and in evaluation mode; both are put back afterwards."""

    def __init__(self, encoder: Any, device: torch.device) -> None:
        self.module = encoder if isinstance(encoder, torch.nn.Module) else None
        self.device = device

    def __enter__(self) -> None:
        if self.module is None:
            return
        self.modes = [(part, part.training) for part in self.module.modules()]
        first = next(self.module.parameters(), None)
        self.home = None if first is None else first.device
        self.module.eval()
        self.module.to(self.device)

    def __exit__(self, *_: object) -> None:
        if self.module is None:
            return
        if self.home is not None:
            self.module.to(self.home)
        for part, training in self.modes:
            part.training = training


def _checked(encoded: Any, n_crops: int) -> torch.Tensor:
    if isinstance(encoded, np.ndarray):
        encoded = torch.from_numpy(encoded)
    if not isinstance(encoded, torch.Tensor):
        msg = f"`encoder` must return a tensor or array, found {type(encoded).__name__}."
        raise TypeError(msg)
    shape = tuple(encoded.shape)
    if len(shape) not in {2, 4} or shape[0] != n_crops:
        msg = (
            f"`encoder` must return (n, d) or maps (n, d, h, w) with n = {n_crops} for a batch of {n_crops} crops, "
            f"found shape {shape}."
        )
        raise ValueError(msg)
    encoded = encoded.float()
    n_bad = int((~torch.isfinite(encoded)).sum())
    if n_bad:
        msg = f"`encoder` returned {n_bad} non-finite values in a batch of {n_crops} crops."
        raise ValueError(msg)
    return encoded


def _check_independent(encoder: Callable[[torch.Tensor], Any], batch: torch.Tensor, encoded: torch.Tensor) -> None:
    """A crop alone must give what it gave in the batch (dropout or batch statistics would change it)."""
    alone = _checked(encoder(batch[:1]), 1)
    difference = float((alone - encoded[:1]).abs().max())
    scale = float(encoded[:1].abs().max())
    if difference > 1e-2 * scale + 1e-6:
        msg = (
            "`encoder` gives another result for a crop alone than inside a batch "
            f"(difference {difference:.3g} at a scale of {scale:.3g}); put it into evaluation mode (`encoder.eval()`)."
        )
        raise ValueError(msg)


def _allocate_tokens(n_obs: int, encoded: torch.Tensor) -> np.ndarray:
    if encoded.ndim != 4:
        msg = (
            f"`tokens=True` needs an encoder that returns maps (n, d, h, w), found {tuple(encoded.shape)}; use "
            "`encoder='filters'`, or drop the pooling at the end of the network."
        )
        raise ValueError(msg)
    shape = (n_obs, encoded.shape[2] * encoded.shape[3], encoded.shape[1])
    n_bytes = 4 * int(np.prod(shape, dtype=np.float64))
    logg.info(f"    tokens {shape} take {n_bytes / 2**30:.3g} GiB")
    available = available_memory()
    if available is not None and n_bytes > available:
        msg = (
            f"`tokens=True` needs {n_bytes / 2**30:.1f} GiB for {shape} float32 values, but "
            f"{available / 2**30:.1f} GiB are available; encode fewer observations at a time or a coarser map."
        )
        raise MemoryError(msg)
    return np.empty(shape, dtype=np.float32)
