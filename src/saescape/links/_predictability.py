"""How well transported expression is predicted from the image side, on cells that were held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape.representations._folds import N_FOLDS, folds
from saescape.representations._linear import train_folds
from saescape.representations._ridge import fold_error

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray
    from saescape.representations._linear import TrainFold

_MAX_DIMS = 50


class Predictor:
    """Ridge regression on the leading principal axes of the rows `(n, d)`; whole batches are held out together.

    Without batches, or with a single one, five random parts of the cells are held out in turn.
    """

    def __init__(self, rows: FloatArray, batch_of: IntArray | None, rng: np.random.Generator) -> None:
        n = len(rows)
        x = np.asarray(rows, np.float64) - np.mean(rows, 0, dtype=np.float64)
        if min(x.shape) > _MAX_DIMS:
            left, size, _ = np.linalg.svd(x, full_matrices=False)
            x = left[:, :_MAX_DIMS] * size[:_MAX_DIMS]
        fold_of = folds(n, batch_of)
        if fold_of is None:
            fold_of = rng.permutation(np.arange(n) % min(N_FOLDS, n))
        elif batch_of is None:
            fold_of = rng.permutation(fold_of)
        self._x, self._folds = x, _usable(train_folds(x, fold_of))

    def r2(self, expression: FloatArray) -> FloatArray:
        """Share of the variance of each gene `(n_genes,)` that is predicted; NaN for constant genes."""
        y = np.asarray(expression, np.float64)
        error = np.zeros(y.shape[1])
        for fold in self._folds:
            train, test = ((self._x[rows] - fold.mean) @ fold.axes for rows in (fold.train, fold.test))
            error += fold_error(train, test, fold.energy, y[fold.train], y[fold.test])
        total = np.square(y - y.mean(0)).sum(0)
        varies = total > 1e-12 * np.maximum(np.square(y).sum(0), 1e-30)
        return np.where(varies, 1 - error / np.where(varies, total, 1), np.nan)


def _usable(parts: list[TrainFold]) -> list[TrainFold]:
    return [part for part in parts if len(part.test)]
