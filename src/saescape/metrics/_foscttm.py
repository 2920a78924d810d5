from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape._rows import RowSource
from saescape._validate import check_finite

if TYPE_CHECKING:
    from saescape._typing import FloatArray

# entries of one block of distances
_BLOCK_ENTRIES = 4 * 2**20


def foscttm(x: FloatArray, y: FloatArray) -> float:
    r"""Fraction of samples closer than the true match, for two paired sets in one space.

    For each cell, the share of the other set's cells that are nearer to it (Euclidean) than its own partner is; the
    mean over all cells of both sets. 0 is a perfect alignment, 0.5 is chance. Cells at the same distance as the
    partner count one half, so that a projection that sends every cell to one point scores 0.5 and not 0.

    Parameters
    ----------
    x
        `(n, d)`: cells of one modality, for example `adata.obsm["X_gw"]`.
    y
        `(n, d)`: the same cells, in the same order, in the other modality, for example `adata_ref.obsm["X_pca"]`.

    Returns
    -------
    The fraction, between 0 and 1.

    Raises
    ------
    ValueError
        If the shapes differ, there are fewer than two cells, or values are not finite.

    Notes
    -----
    The measure of :cite:t:`Liu2019`, averaged over both directions as in :cite:t:`Demetci2022`; the partner itself
    is not counted, so the denominator is n - 1. Distances are computed in blocks: memory does not grow with n squared.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> x = np.arange(5.0)[:, None]
    >>> sae.metrics.foscttm(x, x)
    0.0
    >>> sae.metrics.foscttm(x, np.zeros((5, 1)))
    0.5
    """
    a, b = _points(x, "x"), _points(y, "y")
    if a.shape != b.shape:
        msg = f"`x` and `y` must have the same shape (row i of both is the same cell), found {a.shape} and {b.shape}."
        raise ValueError(msg)
    n = len(a)
    if n < 2:
        msg = f"`x` and `y` must have at least 2 rows, found {n}."
        raise ValueError(msg)
    # a common centre keeps the expanded squares accurate
    centre = (a.mean(0) + b.mean(0)) / 2
    a, b = a - centre, b - centre
    size = max(1, _BLOCK_ENTRIES // n)
    nearer = 0.0
    for queries, points in ((a, b), (b, a)):
        squares = (points**2).sum(1)
        tolerance = 1e-12 * max(float(squares.max()), float((queries**2).sum(1).max()))
        for start in range(0, n, size):
            rows = np.arange(start, min(start + size, n))
            q = queries[rows]
            d2 = (q**2).sum(1)[:, None] + squares[None] - 2 * q @ points.T
            excess = d2 - d2[np.arange(len(rows)), rows][:, None]
            tied = np.abs(excess) <= tolerance
            # the partner ties with itself and is not counted
            nearer += float(np.sum((excess < 0) & ~tied)) + (float(tied.sum()) - len(rows)) / 2
    return nearer / (2 * n * (n - 1))


def _points(values: FloatArray, name: str) -> FloatArray:
    rows = RowSource(values, where=f"`{name}`")
    if rows.n_positions is not None:
        msg = f"`{name}` must have 2 dimensions, found shape {tuple(rows.data.shape)}."
        raise ValueError(msg)
    points = np.asarray(rows.data.toarray() if hasattr(rows.data, "toarray") else rows.data, dtype=np.float64)
    check_finite(points, f"`{name}`")
    return points
