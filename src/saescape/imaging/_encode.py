"""Run an encoder over batches of crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from saescape._logging import logg

from .encoders._evaluating import evaluating
from .encoders._source import module_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from saescape._typing import FloatArray, IntArray

# largest difference, relative to the largest value, between a crop alone and in a batch
_TOLERANCE = {"cpu": 1e-3, "other": 1e-2, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Encoded:
    """Pooled vectors (n, d) of `rows`, with maps their grid (h, w) and, when asked for, the tokens (n, h * w, d)."""

    rows: IntArray
    pooled: FloatArray
    grid: tuple[int, int] | None
    tokens: FloatArray | None


@dataclass(frozen=True)
class Layout:
    """What an encoder returns for a crop: `n_dims` numbers, on a grid (h, w) or without one."""

    n_dims: int
    grid: tuple[int, int] | None

    @classmethod
    def of(cls, encoded: torch.Tensor) -> Layout:
        """Layout of a batch."""
        return cls(encoded.shape[1], (encoded.shape[2], encoded.shape[3]) if encoded.ndim == 4 else None)

    def require_maps(self) -> None:
        """Raise unless there are positions to keep."""
        if self.grid is None:
            msg = (
                f"`tokens=True` needs an encoder that returns maps (n, d, h, w), found (n, {self.n_dims}); use "
                "`encoder='filters'`, choose a `layer` of an ImageEncoder, or drop the pooling at the end of the "
                "network."
            )
            raise ValueError(msg)

    def check_same(self, other: Layout, *, keep_tokens: bool) -> None:
        """Raise unless other crops came out alike; the grid may differ when it is averaged over."""
        if other.n_dims != self.n_dims or (other.grid is None) != (self.grid is None):
            msg = f"`encoder` returned {other} after {self} for earlier crops."
            raise ValueError(msg)
        if keep_tokens and other.grid != self.grid:
            msg = (
                f"`tokens=True` needs maps of one size; `encoder` returned {other.grid} after {self.grid}. Give images "
                "of one shape or `tile_size`."
            )
            raise ValueError(msg)

    def __str__(self) -> str:
        return f"({self.n_dims},)" if self.grid is None else f"({self.n_dims}, {self.grid[0]}, {self.grid[1]})"


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


def encode_batches(
    encoder: Callable[[torch.Tensor], Any],
    batches: Iterable[tuple[IntArray, np.ndarray]],
    *,
    pool: str,
    keep_tokens: bool,
    device: torch.device,
) -> Encoded:
    """Encode batches of (rows, crops); results are in the order of the batches.

    A module is in evaluation mode meanwhile and left as it was found; a surrounding
    :func:`saescape.imaging.encoders._evaluating.evaluating` does so once for many calls.
    """
    rows: list[IntArray] = []
    pooled: list[np.ndarray] = []
    tokens: list[np.ndarray] = []
    layout: Layout | None = None
    checked = False
    run = _Runner(encoder, device)
    with evaluating(encoder, device), torch.inference_mode():
        for batch_rows, crops in batches:
            for part, encoded in run(batch_rows, crops):
                found = Layout.of(encoded)
                if layout is None:
                    layout = found
                    if keep_tokens:
                        layout.require_maps()
                layout.check_same(found, keep_tokens=keep_tokens)
                # one crop cannot tell
                if not checked and len(encoded) > 1:
                    run.check_independent(crops[:1], encoded[:1])
                    checked = True
                if keep_tokens:
                    tokens.append(encoded.flatten(2).transpose(1, 2).cpu().numpy())
                if encoded.ndim == 4:
                    encoded = encoded.mean((2, 3)) if pool == "mean" else encoded.amax((2, 3))
                rows.append(part)
                pooled.append(encoded.cpu().numpy())
    if layout is None:
        msg = "there are no crops to encode."
        raise ValueError(msg)
    return Encoded(
        np.concatenate(rows), np.concatenate(pooled), layout.grid, np.concatenate(tokens) if keep_tokens else None
    )


class _Runner:
    """Calls an encoder with batches as large as the memory of the device allows."""

    def __init__(self, encoder: Callable[[torch.Tensor], Any], device: torch.device) -> None:
        self.encoder, self.device = encoder, device
        self.largest: int | None = None
        # what networks of convolutions are fastest with
        self.format = torch.contiguous_format if module_of(encoder) is None else torch.channels_last
        precision = getattr(encoder, "precision", "float32")
        kind = precision if precision in _TOLERANCE else "cpu" if device.type == "cpu" else "other"
        self.tolerance = _TOLERANCE[kind]

    def __call__(self, rows: IntArray, crops: np.ndarray) -> Iterator[tuple[IntArray, torch.Tensor]]:
        start = 0
        while start < len(crops):
            stop = len(crops) if self.largest is None else min(start + self.largest, len(crops))
            encoded = self._encode(crops[start:stop])
            if encoded is None:
                self.largest = (stop - start) // 2
                logg.warning(f"out of memory on {self.device}: going on with batches of {self.largest} crops")
                continue
            yield rows[start:stop], encoded
            start = stop

    def _encode(self, crops: np.ndarray) -> torch.Tensor | None:
        """Encode a batch; None when the device has not enough memory for it."""
        try:
            return self._run(crops)
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in str(error):
                raise
            if len(crops) == 1:
                msg = f"{self.device} has not enough memory to encode a single crop of shape {crops.shape[1:]}."
                raise MemoryError(msg) from error
        # here, as the error keeps the tensors of the failed run alive
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _run(self, crops: np.ndarray) -> torch.Tensor:
        batch = torch.from_numpy(crops).to(self.device).contiguous(memory_format=self.format)
        return _checked(self.encoder(batch), len(crops))

    def check_independent(self, crop: np.ndarray, encoded: torch.Tensor) -> None:
        """A crop alone must give what it gave in the batch (dropout or batch statistics would change it)."""
        alone = self._run(crop)
        difference = float((alone - encoded).abs().max())
        scale = float(encoded.abs().max())
        if difference > self.tolerance * scale + 1e-6:
            msg = (
                "`encoder` gives another result for a crop alone than inside a batch "
                f"(difference {difference:.3g} at a scale of {scale:.3g}); put it into evaluation mode "
                "(`encoder.eval()`)."
            )
            raise ValueError(msg)


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
    if not encoded.numel():
        msg = f"`encoder` returned nothing for a crop: shape {shape}."
        raise ValueError(msg)
    encoded = encoded.float()
    n_bad = int((~torch.isfinite(encoded)).sum())
    if n_bad:
        msg = f"`encoder` returned {n_bad} non-finite values in a batch of {n_crops} crops."
        raise ValueError(msg)
    return encoded
