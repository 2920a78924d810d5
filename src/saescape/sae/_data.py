"""Mini-batches in random order from any row source, and the split into rows trained on and rows held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ._defaults import HELD_OUT_ROWS, HELD_OUT_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._rows import RowSource
    from saescape._typing import BoolArray, IntArray

# data up to this size become one tensor; larger ones are read by blocks
IN_MEMORY_BYTES = 2**30
_HELD_OUT_BYTES = 2**28
_BLOCK_BYTES = 8 * 2**20
_BLOCKS_PER_BUFFER = 8


def hold_out_observations(
    n_obs: int, n_positions: int, n_dims: int, rng: np.random.Generator, groups: IntArray | None = None
) -> BoolArray:
    """Boolean mask of a tenth of the observations, or of whole groups that make up about a tenth.

    Parameters
    ----------
    groups
        Group number of each observation; there are at least two groups, and one stays for training.
    """
    held_out = np.zeros(n_obs, dtype=bool)
    if groups is None:
        limit = max(1, min(HELD_OUT_ROWS, _HELD_OUT_BYTES // (4 * n_dims)) // n_positions)
        n = min(max(1, round(HELD_OUT_SHARE * n_obs)), limit)
        held_out[rng.choice(n_obs, n, replace=False)] = True
        return held_out
    sizes = np.bincount(groups)
    present = np.flatnonzero(sizes)
    for group in rng.permutation(present)[:-1]:
        held_out |= groups == group
        if held_out.sum() >= HELD_OUT_SHARE * n_obs:
            break
    return held_out


class TrainingRows:
    """Rows that are trained on, as tensors.

    Parameters
    ----------
    rows
        Observations; positions of 3-D data count as rows.
    held_out
        Mask of observations that are never trained on.
    device
        Where batches go.
    max_bytes
        Data larger than that (as float32) stay where they are and are shuffled by blocks.
    """

    def __init__(
        self, rows: RowSource, held_out: BoolArray, device: torch.device, max_bytes: int = IN_MEMORY_BYTES
    ) -> None:
        self.source = rows
        self.device = device
        self.train = np.flatnonzero(~held_out)
        self.held_out = np.flatnonzero(held_out)
        self.n_positions = rows.n_positions or 1
        self.n_train = len(self.train) * self.n_positions
        self._tensor = None
        # a dense float32 array is used in place, whatever its size
        in_place = isinstance(rows.data, np.ndarray) and rows.data.dtype == np.float32 and rows.columns is None
        if rows.dense_bytes <= max_bytes or (in_place and device.type == "cpu"):
            array = rows.read_all().reshape(-1, rows.n_dims)
            if not array.flags.writeable:
                array = array.copy()
            self._tensor = torch.from_numpy(array).to(device)

    def _rows_of(self, observations: IntArray) -> IntArray:
        if self.n_positions == 1:
            return observations
        return (observations[:, None] * self.n_positions + np.arange(self.n_positions)).ravel()

    def take(self, observations: IntArray) -> torch.Tensor:
        """All rows of some observations, on CPU."""
        return torch.from_numpy(self.source.take(observations).reshape(-1, self.source.n_dims))

    def sample(self, n: int, rng: np.random.Generator) -> torch.Tensor:
        """Up to `n` different training rows in random order, on CPU."""
        picked = rng.choice(self.n_train, min(n, self.n_train), replace=False)
        observations, positions = np.divmod(picked, self.n_positions)
        unique, inverse = np.unique(self.train[observations], return_inverse=True)
        return self.take(unique)[torch.from_numpy(inverse * self.n_positions + positions)]

    def held_out_sample(self, n: int, rng: np.random.Generator) -> torch.Tensor:
        """Rows of some held-out observations, about `n`."""
        count = min(len(self.held_out), max(1, n // self.n_positions))
        return self.take(np.sort(rng.choice(self.held_out, count, replace=False))).to(self.device)

    def batches(self, batch_size: int, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        """Batches without end; every pass has a new order, and its incomplete last batch is dropped."""
        while True:
            yield from (
                self._pass_in_memory(batch_size, rng)
                if self._tensor is not None
                else self._pass_by_blocks(batch_size, rng)
            )

    def _pass_in_memory(self, batch_size: int, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        order = torch.from_numpy(rng.permutation(self._rows_of(self.train))).to(self.device)
        for start in range(0, len(order) - batch_size + 1, batch_size):
            yield self._tensor[order[start : start + batch_size]]  # type: ignore[index]

    def _pass_by_blocks(self, batch_size: int, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        """Blocks of neighbours in random order, several at a time in a buffer whose rows are mixed."""
        size = self.source.block_size(_BLOCK_BYTES)
        keep = np.zeros(self.source.n_obs, dtype=bool)
        keep[self.train] = True
        starts = rng.permutation(np.arange(0, self.source.n_obs, size))
        rest = np.empty((0, self.source.n_dims), dtype=np.float32)
        for first in range(0, len(starts), _BLOCKS_PER_BUFFER):
            parts = [rest]
            for start in starts[first : first + _BLOCKS_PER_BUFFER]:
                stop = min(start + size, self.source.n_obs)
                block = self.source.read(int(start), int(stop))[keep[start:stop]]
                parts.append(block.reshape(-1, self.source.n_dims))
            buffer = np.concatenate(parts)
            buffer = buffer[rng.permutation(len(buffer))]
            n_full = len(buffer) // batch_size * batch_size
            for start in range(0, n_full, batch_size):
                yield torch.from_numpy(buffer[start : start + batch_size]).to(self.device)
            rest = buffer[n_full:]
