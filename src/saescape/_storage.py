"""How arrays of rows are stored: containers made uniform, and the spans of rows that are cheap to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from ._typing import IntArray


def uniform_container(data: Any, where: str) -> Any:
    """Turn whatever holds rows into something with `shape`, `dtype` and slicing by rows.

    Raises
    ------
    TypeError
        For columns of a table that are not numbers.
    ValueError
        For masked entries and for lazy arrays of unknown length.
    """
    if hasattr(data, "to_dask_array"):
        data = data.to_dask_array(lengths=True)
    if hasattr(data, "iloc"):
        data = _table_values(data, where)
    if isinstance(data, np.ma.MaskedArray):
        data = _unmasked(data, where)
    if isinstance(data, np.ndarray):
        # drops np.matrix, views of AnnData and the like
        return np.asarray(data)
    if sparse.issparse(data):
        # row access in other formats costs a pass over the whole matrix each time
        return data if data.format == "csr" else data.tocsr()
    if getattr(data, "format", None) == "csc" and hasattr(data, "to_memory"):
        # on disk: each row would cost a pass over the whole file
        return data.to_memory().tocsr()
    if not hasattr(data, "shape"):
        return np.asarray(data)
    if any(np.isnan(size) for size in data.shape):
        msg = f"{where} is lazy and of unknown shape {tuple(data.shape)}; call its `compute_chunk_sizes()` first."
        raise ValueError(msg)
    return data


def _table_values(table: Any, where: str) -> np.ndarray:
    if hasattr(table, "to_memory"):
        table = table.to_memory()
    wrong = [name for name, dtype in table.dtypes.items() if getattr(dtype, "kind", "O") not in "fiubc"]
    if wrong:
        msg = f"{where} must hold real numbers, found column {wrong[0]!r} of dtype {table.dtypes[wrong[0]]}."
        raise TypeError(msg)
    values = table.to_numpy()
    # nullable columns, and mixtures of bool and numbers
    return table.to_numpy(dtype=np.float64, na_value=np.nan) if values.dtype == object else values


def _unmasked(data: np.ma.MaskedArray, where: str) -> np.ndarray:
    mask = np.ma.getmaskarray(data)
    if mask.any():
        first = tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))
        msg = f"{where} has {int(mask.sum())} masked values, the first at position {first}; remove or impute them."
        raise ValueError(msg)
    return data.data


def is_memory(data: Any) -> bool:
    """Whether any row is at hand: a sparse matrix or an array that is no map of a file."""
    if sparse.issparse(data):
        return True
    if not isinstance(data, np.ndarray):
        return False
    while isinstance(data, np.ndarray):
        if isinstance(data, np.memmap):
            return False
        data = data.base
    return True


def holds_sparse(data: Any) -> bool:
    """Whether rows are read as sparse ones."""
    return sparse.issparse(data) or getattr(data, "format", None) == "csr" or sparse.issparse(_meta(data))


def _meta(data: Any) -> Any:
    return getattr(data, "_meta", None)


def stored_bytes(data: Any) -> int:
    """Bytes that one observation takes where it is stored (of sparse arrays on average, of lazy ones in a chunk)."""
    n_obs = max(1, int(data.shape[0]))
    if sparse.issparse(_meta(data)):
        data = data.blocks[(0,) * data.ndim].compute()
        n_obs = data.shape[0]
    if sparse.issparse(data):
        return max(1, (data.data.nbytes + data.indices.nbytes) // n_obs)
    if getattr(data, "format", None) == "csr":
        values, indices = data.group["data"], data.group["indices"]
        return max(1, int(values.shape[0]) * (values.dtype.itemsize + indices.dtype.itemsize) // n_obs)
    return int(np.dtype(data.dtype).itemsize * np.prod(data.shape[1:], dtype=np.int64))


def chunk_edges(data: Any) -> IntArray | None:
    """First rows of the chunks in which an array is stored or computed, and the number of rows; None without chunks."""
    chunks = getattr(data, "chunks", None)
    if not chunks:
        return None
    n = int(data.shape[0])
    if isinstance(chunks[0], tuple):
        return np.concatenate([[0], np.cumsum(chunks[0])]).astype(np.int64)
    return np.append(np.arange(0, n, int(chunks[0])), n)


def span_edges(n: int, bytes_each: int, chunks: IntArray | None, target: int, limit: int | None) -> IntArray:
    """Cut rows into spans of about `target` bytes that begin where chunks begin.

    Parameters
    ----------
    n
        Number of rows.
    bytes_each
        Size of a row.
    chunks
        As :func:`chunk_edges` gives them.
    target
        Wanted size of a span. A larger chunk makes a span of its own.
    limit
        Size above which a chunk is cut all the same, although it is read several times then; at least twice `target`.

    Returns
    -------
    First row of each span, and `n`.
    """
    starts = np.arange(0, n, max(1, target // bytes_each))
    if chunks is not None:
        starts = np.unique(chunks[np.searchsorted(chunks, starts, side="right") - 1])
    edges = np.append(starts, n)
    if limit is None:
        return edges
    n_pieces = -(-np.diff(edges) // max(1, limit // bytes_each))
    if n_pieces.max(initial=1) == 1:
        return edges
    parts = [
        np.linspace(low, high, pieces + 1).astype(np.int64)[:-1]
        for low, high, pieces in zip(edges[:-1], edges[1:], n_pieces, strict=True)
    ]
    return np.append(np.concatenate(parts), n)
