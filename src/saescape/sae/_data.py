"""Mini-batches in random order from any row source, and the split into rows trained on and rows held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from saescape._random import child_seed

from ._batches import Batches, ByBuffers, RandomAccess
from ._defaults import HELD_OUT_ROWS, HELD_OUT_SHARE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from saescape._rows import RowSource
    from saescape._typing import BoolArray, IntArray

# data up to this size become one tensor; larger ones stay where they are
IN_MEMORY_BYTES = 2**29
_HELD_OUT_BYTES = 2**28


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
        # a single row has no variance to compare an error with
        n = min(max(1 if n_positions > 1 else 2, round(HELD_OUT_SHARE * n_obs)), limit)
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
        Data larger than that (as float32) stay where they are; those on disk or lazy are shuffled by buffers.
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
        self._tensor = self._as_tensor(max_bytes)
        self._order: RandomAccess | ByBuffers
        if self._tensor is not None or rows.in_memory:
            self._order = RandomAccess(self._rows_of(self.train), self._tensor, rows, device)
        else:
            self._order = ByBuffers(rows, ~held_out, device)

    def _as_tensor(self, max_bytes: int) -> torch.Tensor | None:
        rows = self.source
        # a dense float32 array is used in place, whatever its size
        in_place = isinstance(rows.data, np.ndarray) and rows.data.dtype == np.float32 and rows.columns is None
        in_place = in_place and rows.in_memory and rows.data.flags.writeable and rows.data.flags.c_contiguous
        if rows.dense_bytes > max_bytes and not (in_place and self.device.type == "cpu"):
            return None
        array = rows.read_all().reshape(-1, rows.n_dims)
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(self.device)

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
        return torch.from_numpy(self.source.take_rows(self.train[observations] * self.n_positions + positions))

    def held_out_sample(self, n: int, rng: np.random.Generator) -> torch.Tensor:
        """Rows of some held-out observations, about `n`."""
        count = min(len(self.held_out), max(1, n // self.n_positions))
        return self.take(np.sort(rng.choice(self.held_out, count, replace=False))).to(self.device)

    def batches(
        self,
        batch_size: int,
        rng: np.random.Generator | int = 0,
        *,
        state: Mapping[str, int] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> Batches:
        """Batches without end; every pass has a new order, and its incomplete last batch is dropped.

        Parameters
        ----------
        batch_size
            Rows of a batch, of all processes together.
        rng
            Generator from which a seed is drawn, or that seed (processes that share batches need the same).
        state
            What :meth:`Batches.state` gave: go on exactly there. Nothing is read for the batches already taken.
        rank, world_size
            Number of this process and of all. It gets the rows ``rank::world_size`` of each batch.
        """
        share = {"rank": rank, "world_size": world_size}
        if state is None:
            seed = child_seed(rng) if isinstance(rng, np.random.Generator) else int(rng)
            return Batches(self._order, batch_size, seed, **share)
        start = {name: int(state[name]) for name in ("n_passes", "n_batches")}
        batches = Batches(self._order, batch_size, int(state["seed"]), **start, **share)
        found = batches.state()
        different = [name for name in found if found[name] != state[name]]
        if different:
            name = different[0]
            msg = f"The order of rows cannot be continued: `{name}` was {state[name]} and is {found[name]}."
            raise ValueError(msg)
        return batches
