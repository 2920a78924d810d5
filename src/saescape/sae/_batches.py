"""Batches in random order without end, that can be continued where they stopped and shared between processes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._rows import RowSource
    from saescape._typing import BoolArray, IntArray

# rows on disk are read in spans of that size, of which many make up a buffer whose rows are mixed
_SPAN_BYTES = 2**20
_BUFFER_BYTES = 128 * 2**20
# larger chunks of the storage are read in parts, so that a buffer stays below eight times that
_SPAN_LIMIT = 64 * 2**20
_MIN_SPANS = 8


class Batches:
    """Iterator over batches; every pass has a new order, and its incomplete last batch is dropped.

    Parameters
    ----------
    order
        What gives the batches of one pass.
    batch_size
        Rows of a batch, of all processes together.
    seed
        Every pass has a generator of its own, derived from the seed and the number of the pass.
    rank, world_size
        Of each batch, take the rows ``rank::world_size``.
    n_passes, n_batches
        Where to begin: passes completed, and batches taken in the pass after them.
    """

    def __init__(
        self,
        order: RandomAccess | ByBuffers,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        n_passes: int = 0,
        n_batches: int = 0,
    ) -> None:
        if batch_size > order.n_rows:
            msg = f"`batch_size` ({batch_size}) is larger than the number of training rows ({order.n_rows})."
            raise ValueError(msg)
        self._order = order
        self._batch_size = batch_size
        self._seed = seed
        self._part = slice(rank, None, world_size)
        self._n_passes, self._n_batches = n_passes, n_batches
        self._pass: Iterator[torch.Tensor] | None = None

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> torch.Tensor:
        while True:
            if self._pass is None:
                rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(self._n_passes,)))
                self._pass = self._order.one_pass(self._batch_size, rng, self._part, skip=self._n_batches)
            batch = next(self._pass, None)
            if batch is not None:
                self._n_batches += 1
                return batch
            self._pass = None
            self._n_passes += 1
            self._n_batches = 0

    def state(self) -> dict[str, int]:
        """Where the iteration is, as plain numbers that `TrainingRows.batches` goes on from."""
        return {
            "seed": self._seed,
            "n_passes": self._n_passes,
            "n_batches": self._n_batches,
            "batch_size": self._batch_size,
            "n_rows": self._order.n_rows,
            "in_buffers": int(isinstance(self._order, ByBuffers)),
        }


class RandomAccess:
    """Passes over rows that are all at hand: one permutation of all of them.

    Parameters
    ----------
    rows
        Numbers of the rows that are trained on.
    values
        All rows as a tensor; None to take them from the source one batch at a time.
    source
        Where the rows come from.
    device
        Where batches go.
    """

    def __init__(self, rows: IntArray, values: torch.Tensor | None, source: RowSource, device: torch.device) -> None:
        self.rows, self.values, self.source, self.device = rows, values, source, device
        self.n_rows = len(rows)

    def one_pass(self, size: int, rng: np.random.Generator, part: slice, skip: int = 0) -> Iterator[torch.Tensor]:
        """Batches of one pass after the first `skip`."""
        order = rng.permutation(self.rows)
        starts = range(skip * size, len(order) - size + 1, size)
        if self.values is None:
            for start in starts:
                yield torch.from_numpy(self.source.take_rows(order[start : start + size][part])).to(self.device)
            return
        on_device = torch.from_numpy(order).to(self.device)
        for start in starts:
            yield self.values[on_device[start : start + size][part]]


class _Mixed(NamedTuple):
    """Content of a buffer: `spans` to read, and rows in random order by number; the first few come from before."""

    spans: list[tuple[int, int]]
    rows: IntArray
    mix: IntArray


class ByBuffers:
    """Passes over rows on disk or lazy: spans of neighbours in random order, many at a time, their rows mixed.

    Parameters
    ----------
    source
        Where the rows come from.
    train
        Mask of the observations that are trained on.
    device
        Where batches go.
    """

    def __init__(self, source: RowSource, train: BoolArray, device: torch.device) -> None:
        self.source, self.train, self.device = source, train, device
        self._p = source.n_positions or 1
        self.n_rows = int(train.sum()) * self._p
        # sparse rows stay sparse in a buffer
        bytes_kept = source.stored_bytes if source.is_sparse else 4 * source.n_dims * self._p
        # of a few columns out of many, what is read is larger than what is kept
        edges = source.spans(_SPAN_BYTES, _SPAN_LIMIT, max(source.stored_bytes, bytes_kept))
        self._spans = np.array(list(pairwise(edges.tolist())))
        n_buffers = -(-source.n_obs * bytes_kept // _BUFFER_BYTES)
        self._n_buffers = max(1, min(n_buffers, len(self._spans) // _MIN_SPANS))

    def _rows_of(self, start: int, stop: int) -> IntArray:
        observations = start + np.flatnonzero(self.train[start:stop])
        return (observations[:, None] * self._p + np.arange(self._p)).ravel()

    def _mixes(self, size: int, rng: np.random.Generator) -> Iterator[_Mixed]:
        """What every buffer of a pass holds; nothing is read for that."""
        rest = np.empty(0, dtype=np.int64)
        for chosen in np.array_split(rng.permutation(len(self._spans)), self._n_buffers):
            spans = [(int(low), int(high)) for low, high in self._spans[np.sort(chosen)]]
            rows = np.concatenate([rest, *(self._rows_of(*span) for span in spans)])
            mix = rng.permutation(len(rows))
            yield _Mixed(spans, rows, mix)
            rest = rows[mix[len(rows) // size * size :]]

    def one_pass(self, size: int, rng: np.random.Generator, part: slice, skip: int = 0) -> Iterator[torch.Tensor]:
        """Batches of one pass after the first `skip`, for which nothing is read."""
        rest: Any = None
        for spans, rows, mix in self._mixes(size, rng):
            n_batches = len(rows) // size
            if 0 < skip >= n_batches:
                skip -= n_batches
                continue
            n_rest = len(rows) - sum(int(self.train[low:high].sum()) for low, high in spans) * self._p
            if rest is None and n_rest:
                rest = self.source.take_rows(rows[:n_rest])
            buffer = self._fill(rest, len(rows), spans)
            for i in range(skip, n_batches):
                yield torch.from_numpy(_dense(buffer[mix[i * size : (i + 1) * size][part]])).to(self.device)
            skip = 0
            rest = buffer[mix[n_batches * size :]]
            # not held while the next one is filled
            del buffer

    def _fill(self, rest: Any, n: int, spans: list[tuple[int, int]]) -> Any:
        """Rows left over and those of the spans: one array, or one CSR matrix where rows are stored sparse."""
        if self.source.is_sparse:
            parts = [] if rest is None else [sparse.csr_matrix(rest)]
            for low, high in spans:
                block = self.source.read(low, high, keep_sparse=True)
                parts.append(sparse.csr_matrix(block[np.flatnonzero(self.train[low:high])]))
            return sparse.vstack(parts, format="csr")
        out, at = np.empty((n, self.source.n_dims), dtype=np.float32), 0
        if rest is not None:
            out[: len(rest)], at = rest, len(rest)
        for low, high in spans:
            block = self.source.read(low, high)[self.train[low:high]].reshape(-1, self.source.n_dims)
            out[at : at + len(block)] = block
            at += len(block)
        return out


def _dense(rows: Any) -> np.ndarray:
    return rows.toarray() if sparse.issparse(rows) else rows
