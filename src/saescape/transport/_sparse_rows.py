"""Rows of a wide sparse matrix, of which only the ones in use are ever dense."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing import Any

    from scipy import sparse

    from saescape._typing import BoolArray, FloatArray


class SparseRows:
    """Rows `(n, d)` of a float32 csr matrix: indexing gives a dense array, as it does for an array.

    Parameters
    ----------
    matrix
        The rows.
    """

    def __init__(self, matrix: sparse.csr_matrix) -> None:
        self.matrix = matrix

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def __getitem__(self, index: Any) -> FloatArray:
        return self.matrix[index].toarray()

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape

    def any(self, axis: int) -> BoolArray:
        """Whether there is anything but zeros in each row (`axis` 1) or column (0)."""
        return np.asarray((self.matrix != 0).sum(axis)).ravel() > 0

    def take(self, index: Any) -> SparseRows:
        """Rows by index, still sparse."""
        return SparseRows(self.matrix[index])

    def squares(self) -> FloatArray:
        """Squared length of each row."""
        return np.asarray(self.matrix.multiply(self.matrix).sum(1), np.float32).ravel()

    def of_unit_length(self) -> SparseRows:
        """The rows divided by their lengths; rows of zeros stay."""
        rows = self.matrix.copy()
        squares = rows.copy()
        squares.data = squares.data.astype(np.float64) ** 2
        length = np.sqrt(np.asarray(squares.sum(1)).ravel())
        factor = 1 / np.where(length > 0, length, 1)
        rows.data = (rows.data * np.repeat(factor, np.diff(rows.indptr))).astype(np.float32)
        return SparseRows(rows)


# what the kernels take as the rows of a cell set
Rows: TypeAlias = npt.NDArray[np.floating] | SparseRows


def take_rows(rows: Rows, index: Any) -> Rows:
    """Rows by index, sparse ones still sparse."""
    return rows.take(index) if isinstance(rows, SparseRows) else rows[index]
