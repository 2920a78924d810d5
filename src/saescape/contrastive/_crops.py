"""Crops in memory, in a memory map, or lazy, read as float32 batches."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import FloatArray, IntArray

_MIN_SIDE = 8
_BLOCK = 512


class CropSource:
    """`(n, C, h, w)` numbers: an array, a memory map, a zarr array or a dask array.

    Raises
    ------
    TypeError
        If they are not real numbers.
    ValueError
        If there are not four dimensions, or sides are shorter than 8 pixels.
    """

    def __init__(self, crops: Any, where: str = "`crops`") -> None:
        if not hasattr(crops, "shape") or not hasattr(crops, "dtype"):
            crops = np.asarray(crops)
        shape = tuple(int(size) for size in crops.shape)
        if len(shape) != 4 or min(shape) == 0:
            msg = f"{where} must have 4 dimensions (n, C, h, w), found shape {shape}."
            raise ValueError(msg)
        if min(shape[2:]) < _MIN_SIDE:
            msg = f"{where} must be at least {_MIN_SIDE} x {_MIN_SIDE} pixels, found {shape[2]} x {shape[3]}."
            raise ValueError(msg)
        if np.dtype(crops.dtype).kind not in "uif":
            msg = f"{where} must be real numbers, found dtype {crops.dtype}."
            raise TypeError(msg)
        self._crops, self.where, self.shape = crops, where, shape

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, rows: IntArray) -> torch.Tensor:
        """Crops of these rows, in this order.

        Raises
        ------
        ValueError
            If values are not finite.
        """
        # files and lazy arrays read sorted rows; a row asked for twice is read once
        unique, inverse = np.unique(rows, return_inverse=True)
        if hasattr(self._crops, "compute"):
            part = self._crops[unique].compute()
        elif hasattr(self._crops, "oindex"):
            part = self._crops.oindex[unique]
        else:
            part = self._crops[unique]
        part = np.ascontiguousarray(part, dtype=np.float32)
        finite = np.isfinite(part)
        if not finite.all():
            first = unique[np.nonzero(~finite)[0][0]]
            msg = f"{self.where} holds non-finite values; the first is in crop {int(first)}."
            raise ValueError(msg)
        return torch.from_numpy(part[inverse])

    def batches(self, size: int = _BLOCK) -> Iterator[tuple[slice, torch.Tensor]]:
        """All crops in order."""
        for start in range(0, len(self), size):
            rows = slice(start, min(start + size, len(self)))
            yield rows, self.read(np.arange(rows.start, rows.stop))

    @cached_property
    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Mean and SD of each channel over all pixels; all values are read, once, and checked."""
        n = len(self) * self.shape[2] * self.shape[3]
        total = np.zeros(self.shape[1])
        squares = np.zeros(self.shape[1])
        for _, batch in self.batches():
            values = batch.double()
            total += values.sum((0, 2, 3)).numpy()
            squares += (values**2).sum((0, 2, 3)).numpy()
        mean = total / n
        return mean, np.sqrt(np.maximum(squares / n - mean**2, 0))
