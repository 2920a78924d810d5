"""Dictionaries that have no feature in common with a given one but look like one of its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from saescape.sae._stability import unit_rows

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

_MIN_SD = 1e-9


class RandomDirections:
    """Gaussian directions with the mean and the covariance of the directions `(m, d)` of a dictionary."""

    def __init__(self, directions: FloatArray) -> None:
        unit = unit_rows(directions)
        self.mean = unit.mean(0)
        centred = (unit - self.mean) / np.sqrt(len(unit))
        if len(centred) > centred.shape[1]:
            values, vectors = np.linalg.eigh(centred.T @ centred)
            centred = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
        self.factor = centred.astype(np.float32)

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """`n` directions of length 1."""
        return unit_rows(self.mean + rng.standard_normal((n, len(self.factor)), np.float32) @ self.factor)


class RandomFeatures:
    """Features that fire where a random direction of the data is high, each with the values of one of a dictionary.

    Parameters
    ----------
    rows
        Data `(n, d)`.
    codes
        Codes `(n, m)` of the dictionary on the same rows, without stored zeros.
    """

    def __init__(self, rows: FloatArray, codes: sparse.csr_matrix) -> None:
        self.rows = (rows - rows.mean(0)).astype(np.float32)
        columns = codes.tocsc()
        self.values = [np.sort(part) for part in np.split(columns.data, columns.indptr[1:-1])]

    def draw(self, rng: np.random.Generator) -> sparse.csr_matrix:
        """Codes `(n, m)`; directions have the covariance of the data, and the highest cells the largest values."""
        n, m = len(self.rows), len(self.values)
        mixing = rng.standard_normal((m, n), np.float32) / np.float32(np.sqrt(n))
        projected = (mixing @ self.rows) @ self.rows.T
        cells = []
        for score, values in zip(projected, self.values, strict=True):
            top = np.argpartition(score, n - len(values) - 1)[n - len(values) :] if len(values) < n else np.arange(n)
            cells.append(top[np.argsort(score[top])])
        indptr = np.cumsum([0, *map(len, cells)])
        return sparse.csc_matrix((np.concatenate(self.values), np.concatenate(cells), indptr), shape=(n, m)).tocsr()


def permuted_cells(codes: sparse.csr_matrix, rng: np.random.Generator) -> sparse.csr_matrix:
    """The same codes, dealt to the cells at random."""
    order: IntArray = rng.permutation(codes.shape[0])
    return codes[order]


def pooled_pvalues(observed: FloatArray, nulls: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Z-scores and p-values `(n,)` of each feature's similarity against its own draws `(n_draws, n)`.

    Each draw is standardised by the other ones as the observed similarity is by all of them, and the standardised draws
    of all features are pooled: ``(1 + #{null >= observed}) / (1 + n_draws n)``. NaN where draws do not vary.
    """
    n = len(nulls)
    total, squares = nulls.sum(0), np.square(nulls).sum(0)
    zscore = _standardised(observed, total, squares, n)
    # a mean of one draw fewer is less certain
    scale = np.sqrt((1 + 1 / n) / (1 + 1 / (n - 1)))
    pool = np.concatenate(
        [scale * _standardised(null, total - null, squares - null**2, n - 1)[np.isfinite(zscore)] for null in nulls]
    )
    pool = np.sort(pool[np.isfinite(pool)])
    at_least = len(pool) - np.searchsorted(pool, zscore, side="left")
    pvalue = np.where(np.isfinite(zscore), (1 + at_least) / (1 + len(pool)), np.nan)
    return zscore, pvalue


def _standardised(value: FloatArray, total: FloatArray, squares: FloatArray, n: int) -> FloatArray:
    mean = total / n
    sd = np.sqrt(np.maximum(squares - n * mean**2, 0) / (n - 1))
    return (value - mean) / np.where(sd > _MIN_SD, sd, np.nan)
