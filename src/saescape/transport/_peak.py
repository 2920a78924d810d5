"""Memory that an alignment takes at its peak, by what it is known to hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._embedding import N_LANDMARKS
from ._neighbors import N_ANCHORS
from ._plan import BLOCK_ENTRIES, MAX_DENSE
from ._readout import stored_per_row

if TYPE_CHECKING:
    from ._sparse_rows import Rows

# bytes of an entry of the sparse plan (itself, transposed and rescaled), of the kernel in memory (its blocks and what
# they make up), and of a block (logarithm, plan, conditional and its logarithm)
_PER_STORED, _PER_DENSE, _PER_BLOCK = 40, 12, 20


def peak_bytes(x: Rows, y: Rows, n_targets: int) -> int:
    """Estimate the peak of :func:`align` beyond its arguments, for means of `n_targets` columns."""
    n, m = len(x), len(y)
    readout = _PER_STORED * n * stored_per_row(n, m) + _PER_BLOCK * min(n * m, BLOCK_ENTRIES)
    kernel = _PER_DENSE * n * m if n * m <= MAX_DENSE else 0
    # rows as the metric sees them, distances to landmarks, anchors and copies of them
    sides = [
        4 * (len(side) * (rows_width(side) + 2 * min(len(side), N_LANDMARKS)) + 4 * min(len(side), N_ANCHORS) * width)
        for side, width in ((x, x.shape[1]), (y, y.shape[1]))
    ]
    return max(max(sides), kernel, readout) + 4 * n * n_targets


def rows_width(rows: Rows) -> int:
    """Values of a row that are held: those that are not zero of sparse rows, with their places."""
    matrix = getattr(rows, "matrix", None)
    return rows.shape[1] if matrix is None else 3 * matrix.nnz // len(rows)
