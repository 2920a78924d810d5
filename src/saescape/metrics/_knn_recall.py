from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from saescape._validate import check_finite, check_integer
from saescape.superposition._arrays import as_matrix
from saescape.superposition._neighbors import nearest_neighbors, neighbor_overlap

if TYPE_CHECKING:
    from saescape._typing import FloatArray


def knn_recall(x: FloatArray | sparse.csr_matrix, y: FloatArray | sparse.csr_matrix, k: int = 10) -> float:
    """Share of the nearest neighbours in one space that are nearest neighbours in another.

    Parameters
    ----------
    x
        Data `(n, d)`, dense or sparse; sparse data stay sparse.
    y
        The same rows in the other space `(n, e)`.
    k
        Neighbours of each row (Euclidean distance, exact, without the row itself), less than `n`.

    Returns
    -------
    Mean over rows of the shared neighbours divided by `k`: 1 for equal neighbourhoods, and ``k / (n - 1)`` on average
    for spaces that have nothing to do with each other. Ties, as of equal rows, are broken arbitrarily but always in the
    same way.

    Raises
    ------
    ValueError
        For unequal numbers of rows, non-finite values and a `k` that is not between 1 and ``n - 1``.

    Notes
    -----
    The agreement of neighbourhoods of Lee & Verleysen (2009), Quality assessment of dimensionality reduction:
    rank-based criteria.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> sae.metrics.knn_recall(x, 2 * x + 1, k=5)
    1.0
    """
    first, second = _rows("x", x), _rows("y", y)
    n, other = first.shape[0], second.shape[0]
    if n != other:
        msg = f"`x` and `y` must have the same number of rows, found {n} and {other}."
        raise ValueError(msg)
    k = check_integer("k", k, 1, n - 1, high_name="n - 1")
    return neighbor_overlap(nearest_neighbors(first, k), nearest_neighbors(second, k))


def _rows(name: str, x: FloatArray | sparse.csr_matrix) -> FloatArray | sparse.csr_matrix:
    if not sparse.issparse(x) or x.shape[0] < 2 or x.shape[1] == 0:
        return as_matrix(name, x)
    matrix = sparse.csr_matrix(x, dtype=np.float64)
    check_finite(matrix.data, f"`{name}`")
    return matrix
