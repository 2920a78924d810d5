"""Rows of an array as float32, whatever holds them: dense, sparse, backed, dask, 2-D or 3-D."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._typing import BoolArray, IntArray

# bytes of float32 that one block of rows may take
_BLOCK_BYTES = 32 * 2**20


class RowSource:
    """Uniform access to the observations of an array that may be sparse, on disk, lazy or three-dimensional.

    Parameters
    ----------
    data
        `(n_obs, n_dims)` or `(n_obs, n_positions, n_dims)`: numpy, scipy sparse, DataFrame, dask, h5py or
        anndata-backed array.
    columns
        Boolean mask over `n_dims` of the dimensions to keep, or their indices in the order wanted.
    where
        Name of the array in error messages.
    """

    def __init__(self, data: Any, *, columns: BoolArray | IntArray | None = None, where: str = "the data") -> None:
        if hasattr(data, "iloc"):
            data = data.to_numpy()
        if sparse.issparse(data) and data.format not in {"csr", "csc"}:
            data = data.tocsr()
        if sparse.issparse(data) and data.format == "csc":
            # row access in csc costs a pass over the whole matrix each time
            data = data.tocsr()
        if not hasattr(data, "shape"):
            data = np.asarray(data)
        if len(data.shape) not in {2, 3}:
            msg = f"{where} must have 2 or 3 dimensions, found shape {tuple(data.shape)}."
            raise ValueError(msg)
        dtype = np.dtype(data.dtype)
        if dtype.kind not in "fiub":
            msg = f"{where} must hold real numbers, found dtype {dtype}."
            raise TypeError(msg)
        self.data = data
        self.columns = None if columns is None else np.flatnonzero(columns) if columns.dtype == bool else columns
        self.where = where
        self.n_obs = int(data.shape[0])
        self.n_positions = int(data.shape[1]) if len(data.shape) == 3 else None
        self.n_dims = int(data.shape[-1]) if self.columns is None else len(self.columns)

    @property
    def n_rows(self) -> int:
        """Rows to encode: observations, or observations times positions."""
        return self.n_obs * (self.n_positions or 1)

    @property
    def in_memory(self) -> bool:
        """Whether the array is a numpy or scipy object (not on disk, not lazy)."""
        return isinstance(self.data, np.ndarray) or sparse.issparse(self.data)

    @property
    def dense_bytes(self) -> int:
        """Size of all rows as float32."""
        return 4 * self.n_rows * self.n_dims

    def _finish(self, block: Any) -> np.ndarray:
        if hasattr(block, "compute"):
            block = block.compute()
        if sparse.issparse(block):
            block = block.toarray()
        block = np.asarray(block)
        if self.columns is not None:
            block = block[..., self.columns]
        return np.ascontiguousarray(block, dtype=np.float32)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Observations ``start:stop``: `(stop - start, [n_positions,] n_dims)` float32."""
        return self._finish(self.data[start:stop])

    def take(self, indices: IntArray) -> np.ndarray:
        """Observations by index, in the order given (arrays on disk are read in increasing order)."""
        indices = np.asarray(indices)
        if self.in_memory:
            return self._finish(self.data[indices])
        unique, inverse = np.unique(indices, return_inverse=True)
        return self._finish(self.data[unique])[inverse]

    def read_all(self) -> np.ndarray:
        """All observations as one float32 array."""
        return self.read(0, self.n_obs)

    def block_size(self, max_bytes: int = _BLOCK_BYTES) -> int:
        """Observations that fit into `max_bytes` of float32."""
        per_obs = 4 * max(1, self.n_dims) * (self.n_positions or 1)
        return max(1, min(self.n_obs, max_bytes // per_obs))

    def blocks(self, size: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Iterate over ``(start, block)`` in order."""
        size = size or self.block_size()
        for start in range(0, self.n_obs, size):
            yield start, self.read(start, min(start + size, self.n_obs))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each dimension over all rows, float64, in one pass that also checks for finiteness.

        Raises
        ------
        ValueError
            With the number of non-finite values and the position of the first.
        """
        count, mean, m2 = 0, np.zeros(self.n_dims), np.zeros(self.n_dims)
        n_bad, first_bad = 0, None
        for start, block in self.blocks():
            bad = ~np.isfinite(block)
            if bad.any():
                if first_bad is None:
                    position = np.unravel_index(int(np.argmax(bad)), block.shape)
                    first_bad = (start + int(position[0]), *(int(i) for i in position[1:]))
                n_bad += int(bad.sum())
                continue
            rows = block.reshape(-1, self.n_dims).astype(np.float64)
            # Chan et al. (1979): merge the moments of the block with those so far
            n_new = len(rows)
            delta = rows.mean(0) - mean
            total = count + n_new
            m2 += rows.var(0) * n_new + delta**2 * count * n_new / total
            mean += delta * n_new / total
            count = total
        if n_bad:
            msg = (
                f"{self.where} has {n_bad} non-finite values, the first at position {first_bad}; remove or impute them."
            )
            raise ValueError(msg)
        return mean, m2 / max(count, 1)
