"""Rows of an array as float32, whatever holds them: dense, sparse, backed, dask, 2-D or 3-D."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ._storage import chunk_edges, holds_sparse, is_memory, span_edges, stored_bytes, uniform_container

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._typing import BoolArray, IntArray

# bytes of float32 that one block of rows may take
_BLOCK_BYTES = 32 * 2**20
# bytes as stored that are read at once
_READ_BYTES = 32 * 2**20
# chunks of a file up to this size are read whole, larger ones in parts
_CHUNK_BYTES = 256 * 2**20
# reading on is cheaper than a new read across gaps of so many bytes
_GAP_BYTES = 256 * 2**10
_MOMENT_VALUES = 2**16
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class RowSource:
    """Uniform access to the observations of an array that may be sparse, on disk, lazy or three-dimensional.

    Parameters
    ----------
    data
        `(n_obs, n_dims)` or `(n_obs, n_positions, n_dims)`: numpy, scipy sparse, DataFrame, dask, h5py, zarr or
        anndata-backed array. Sparse columns (CSC) on disk are loaded as CSR, for rows cannot be read from them.
    columns
        Boolean mask over `n_dims` of the dimensions to keep, or their indices in the order wanted.
    where
        Name of the array in error messages.

    Raises
    ------
    TypeError
        When the array does not hold real numbers.
    ValueError
        For 1, 4 or more dimensions, for no columns, and for masked entries.
    """

    def __init__(self, data: Any, *, columns: BoolArray | IntArray | None = None, where: str = "the data") -> None:
        data = uniform_container(data, where)
        shape = tuple(data.shape)
        if len(shape) not in {2, 3}:
            msg = f"{where} must have 2 or 3 dimensions, found shape {shape}."
            raise ValueError(msg)
        dtype = np.dtype(data.dtype)
        if dtype.kind not in "fiub":
            msg = f"{where} must hold real numbers, found dtype {dtype}."
            raise TypeError(msg)
        if 0 in shape[1:]:
            msg = f"{where} has no values in its rows: found shape {shape}."
            raise ValueError(msg)
        self.data = data
        self.columns = None if columns is None else np.flatnonzero(columns) if columns.dtype == bool else columns
        self.where = where
        self.n_obs = int(shape[0])
        self.n_positions = int(shape[1]) if len(shape) == 3 else None
        self.n_dims = int(shape[-1]) if self.columns is None else len(self.columns)
        # whether any row is at hand (not on disk, not lazy)
        self.in_memory = is_memory(data)
        self.is_sparse = holds_sparse(data)

    @property
    def n_rows(self) -> int:
        """Rows to encode: observations, or observations times positions."""
        return self.n_obs * (self.n_positions or 1)

    @property
    def dense_bytes(self) -> int:
        """Size of all rows as float32."""
        return 4 * self.n_rows * self.n_dims

    @cached_property
    def stored_bytes(self) -> int:
        """Bytes that an observation takes where it is stored, about."""
        return stored_bytes(self.data)

    def spans(self, target: int, limit: int | None, bytes_each: int = 0) -> IntArray:
        """Cut the observations into spans that are cheap to read: first of each, and their number.

        Parameters
        ----------
        target
            Bytes wanted, as stored.
        limit
            Bytes above which a chunk of the storage is cut; None for never.
        bytes_each
            Bytes of an observation, if not those stored.
        """
        size = bytes_each or self.stored_bytes
        return span_edges(self.n_obs, size, chunk_edges(self.data), target, limit)

    def _reads(self) -> IntArray:
        if self.in_memory:
            return np.array([0, self.n_obs])
        # a lazy chunk is computed whole in any case
        limit = None if hasattr(self.data, "compute") else _CHUNK_BYTES
        return self.spans(_READ_BYTES, limit)

    def _stored(self, start: int, stop: int) -> Any:
        """Observations as they are stored: numpy or CSR, all columns."""
        block = self.data[start:stop]
        if hasattr(block, "compute"):
            block = block.compute()
        if sparse.issparse(block):
            return block.tocsr()
        return np.asarray(block)

    def _finish(self, block: Any, numbers: Sequence[int] | IntArray, *, keep_sparse: bool = False) -> Any:
        """Columns wanted as float32; `numbers` are those of the observations, for errors."""
        if sparse.issparse(block):
            if self.columns is not None:
                block = block[:, self.columns]
            if keep_sparse:
                return self._cast(block, numbers)
            block = block.toarray()
        elif self.columns is not None:
            block = block[..., self.columns]
        return self._cast(block, numbers)

    def _cast(self, block: Any, numbers: Sequence[int] | IntArray) -> Any:
        try:
            with np.errstate(over="raise"):
                if sparse.issparse(block):
                    return block.astype(np.float32, copy=False)
                return np.ascontiguousarray(block, dtype=np.float32)
        except FloatingPointError:
            dense = block.toarray() if sparse.issparse(block) else block
            large = np.isfinite(dense) & (np.abs(dense) > _FLOAT32_MAX)
            first = int(numbers[int(np.argmax(large.reshape(len(dense), -1).any(1)))])
            msg = (
                f"{self.where} has values that overflow float32 (above {_FLOAT32_MAX:.2g}), the first in row {first}; "
                "rescale the data."
            )
            raise ValueError(msg) from None

    def read(self, start: int, stop: int, *, keep_sparse: bool = False) -> Any:
        """Observations ``start:stop``: `(stop - start, [n_positions,] n_dims)` float32.

        Parameters
        ----------
        keep_sparse
            Give CSR where rows are stored sparse.
        """
        return self._finish(self._stored(start, stop), range(start, stop), keep_sparse=keep_sparse)

    def take(self, indices: IntArray) -> np.ndarray:
        """Observations by index, in the order given (arrays on disk are read once, in increasing order)."""
        indices = np.asarray(indices)
        if self.in_memory:
            return self._finish(self.data[indices], indices)
        wanted, inverse = np.unique(indices, return_inverse=True)
        taken = self._gather(wanted, None)
        return taken if np.array_equal(wanted, indices) else taken[inverse]

    def take_rows(self, numbers: IntArray) -> np.ndarray:
        """Rows by number, counting every position of every observation, in the order given: `(n, n_dims)`."""
        if self.n_positions is None:
            return self.take(numbers)
        if self.in_memory:
            observations, positions = np.divmod(numbers, self.n_positions)
            return self._finish(self.data[observations, positions], observations)
        wanted, inverse = np.unique(numbers, return_inverse=True)
        return self._gather(*np.divmod(wanted, self.n_positions))[inverse]

    def _gather(self, observations: IntArray, positions: IntArray | None) -> np.ndarray:
        """Observations in increasing order, or one position of each, holding one read in memory at a time."""
        shape = self._row_shape() if positions is None else (self.n_dims,)
        out = np.empty((len(observations), *shape), dtype=np.float32)
        for low, high in pairwise(self._cuts(observations)):
            numbers = observations[low:high]
            start = int(numbers[0])
            block = self._stored(start, int(numbers[-1]) + 1)
            block = block[numbers - start] if positions is None else block[numbers - start, positions[low:high]]
            out[low:high] = self._finish(block, numbers)
        return out

    def _cuts(self, wanted: IntArray) -> list[int]:
        """Where to cut increasing numbers of observations into single reads."""
        if len(wanted) == 0:
            return [0]
        far = np.diff(wanted) * self.stored_bytes > _GAP_BYTES
        chunks = chunk_edges(self.data)
        if chunks is not None:
            # within a chunk nothing is saved by a second read
            far &= np.diff(np.searchsorted(chunks, wanted, side="right")) > 0
        far |= np.diff(np.searchsorted(self._reads(), wanted, side="right")) > 0
        return [0, *(np.flatnonzero(far) + 1).tolist(), len(wanted)]

    def _row_shape(self) -> tuple[int, ...]:
        return (self.n_dims,) if self.n_positions is None else (self.n_positions, self.n_dims)

    def read_all(self) -> np.ndarray:
        """All observations as one float32 array (the data themselves where they are that already)."""
        if self.in_memory:
            return self.read(0, self.n_obs)
        out = np.empty((self.n_obs, *self._row_shape()), dtype=np.float32)
        for start, block in self.blocks():
            out[start : start + len(block)] = block
        return out

    def block_size(self, max_bytes: int = _BLOCK_BYTES) -> int:
        """Observations that fit into `max_bytes` of float32."""
        per_obs = 4 * max(1, self.n_dims) * (self.n_positions or 1)
        return max(1, min(self.n_obs, max_bytes // per_obs))

    def blocks(self, size: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Iterate over ``(start, block)`` in order; every chunk on disk is read once, whatever the size of blocks."""
        size = size or self.block_size()
        start, at, parts = 0, 0, []
        for low, high in pairwise(self._reads()):
            stored = self.data if self.in_memory else self._stored(low, high)
            while at < high:
                stop = min(start + size, self.n_obs)
                upto = min(stop, int(high))
                parts.append(self._finish(stored[at - low : upto - low], range(at, upto)))
                at = upto
                if at == stop:
                    yield start, parts[0] if len(parts) == 1 else np.concatenate(parts)
                    start, parts = stop, []

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each dimension over all rows, float64, in one pass that also checks for finiteness.

        Dimensions whose standard deviation is no normal float32 number count as constant.

        Raises
        ------
        ValueError
            With the number of non-finite values and the position of the first.
        """
        count, mean, m2 = 0, np.zeros(self.n_dims), np.zeros(self.n_dims)
        n_bad, first_bad = 0, None
        # few enough rows at a time that their float64 copy stays in cache
        size = max(64, _MOMENT_VALUES // self.n_dims)
        for start, block in self.blocks():
            values = block.reshape(-1, self.n_dims)
            for low in range(0, len(values), size):
                rows = values[low : low + size].astype(np.float64)
                # neither a sum of finite float32 numbers overflows in float64, nor does one with others stay finite
                center = rows.mean(0)
                if not np.isfinite(center).all():
                    bad = ~np.isfinite(rows)
                    n_bad += int(bad.sum())
                    if first_bad is None:
                        row, column = (int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
                        first_bad = (*self._position(start, low + row), column)
                    continue
                # Chan et al. (1979): merge the moments of these rows with those so far
                n_new = len(rows)
                delta = center - mean
                total = count + n_new
                rows -= center
                m2 += np.einsum("ij,ij->j", rows, rows) + delta**2 * (count * n_new / total)
                mean += delta * (n_new / total)
                count = total
        if n_bad:
            msg = (
                f"{self.where} has {n_bad} non-finite values, the first at position {first_bad}; remove or impute NaN "
                "and infinite values."
            )
            raise ValueError(msg)
        variance = m2 / max(count, 1)
        variance[np.sqrt(variance) < np.finfo(np.float32).tiny] = 0.0
        return mean, variance

    def _position(self, start: int, row: int) -> tuple[int, ...]:
        """Observation, and position in it if there are any, of a row counted from observation `start`."""
        if self.n_positions is None:
            return (start + row,)
        observation, position = divmod(row, self.n_positions)
        return (start + observation, position)
