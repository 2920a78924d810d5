"""Read an array of any kind in strips of whole rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

# what one strip may need, unless a single row (or chunk of rows) is larger
STRIP_BYTES = 32 * 2**20


def strip_rows(pixels: Any, most: int | None = None) -> int:
    """Rows of a strip of (..., Y, X) pixels: whole chunks of a chunked array, so that none is read twice."""
    height, width = int(pixels.shape[-2]), int(pixels.shape[-1])
    n_planes = int(np.prod(pixels.shape[:-2], dtype=np.int64))
    row_bytes = n_planes * width * np.dtype(pixels.dtype).itemsize
    rows = max(1, STRIP_BYTES // max(row_bytes, 1))
    if most is not None:
        rows = min(rows, most)
    chunk = _chunk_rows(pixels)
    if chunk is not None:
        rows = max(rows // chunk, 1) * chunk
    return min(rows, height)


def iterate_strips(pixels: Any, rows: int) -> Iterator[tuple[int, np.ndarray]]:
    """First row and pixels of each strip of (Y, X) or (C, Y, X)."""
    height, width = int(pixels.shape[-2]), int(pixels.shape[-1])
    for start in range(0, height, rows):
        window = (slice(start, min(start + rows, height)), slice(0, width))
        yield start, np.asarray(pixels[window] if len(pixels.shape) == 2 else pixels[(slice(None), *window)])


def _chunk_rows(pixels: Any) -> int | None:
    """Rows of a chunk of a dask or zarr array."""
    chunks = getattr(pixels, "chunks", None)
    if not chunks or len(chunks) != len(pixels.shape):
        return None
    rows = chunks[-2]
    return int(max(rows) if isinstance(rows, tuple) else rows) or None
