"""What linear readouts of held-out rows share: moments of each fold, and principal axes of the rows to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray


@dataclass(frozen=True)
class TrainFold:
    """Rows `test` are held out; the others are standardised and rotated to their principal axes.

    `axes` `(d, d)` has standardisation and rotation in one: ``(x - mean) @ axes`` are uncorrelated columns, whose sums
    of squares over the rows to train on are `energy`.
    """

    test: IntArray
    train: IntArray
    mean: FloatArray
    axes: FloatArray
    energy: FloatArray


def train_folds(x: FloatArray, fold_of: IntArray) -> list[TrainFold]:
    """One per fold, from sums that are taken once.

    Parameters
    ----------
    x
        Rows `(n, d)`, float64. Columns without variance are kept at zero.
    fold_of
        Fold of each row, from 0.
    """
    rows = [np.flatnonzero(fold_of == fold) for fold in range(int(fold_of.max()) + 1)]
    # large common offsets would cost digits
    centre = x.mean(0)
    sums, products = [], []
    for inside in rows:
        block = x[inside] - centre
        sums.append(block.sum(0))
        products.append(block.T @ block)
    total, product = np.sum(sums, axis=0), np.sum(products, axis=0)
    result = []
    for fold, inside in enumerate(rows):
        n = len(x) - len(inside)
        mean = (total - sums[fold]) / n
        scatter = product - products[fold] - n * np.outer(mean, mean)
        sd = np.sqrt(np.maximum(np.diag(scatter), 0) / n)
        varies = sd > 1e-10 * max(1.0, float(np.abs(centre).max(initial=0)))
        scale = np.divide(1.0, sd, out=np.zeros_like(sd), where=varies)
        energy, vectors = np.linalg.eigh(scatter * np.outer(scale, scale))
        train = np.flatnonzero(fold_of != fold)
        result.append(TrainFold(inside, train, centre + mean, scale[:, None] * vectors, np.maximum(energy, 0)))
    return result
