"""Ridge regression on held-out rows, for many targets at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._autocorrelation import permuted_blocks

if TYPE_CHECKING:
    from saescape._typing import FloatArray

    from ._linear import TrainFold
    from ._permutations import Permutations

ALPHAS = np.logspace(-3, 5, 33)


def ridge_r2(x: FloatArray, values: FloatArray, folds: list[TrainFold], permutations: Permutations) -> FloatArray:
    r"""Share of the variance `(1 + n_perms,)` that ridge regression predicts on rows it was not fitted on.

    Columns are standardised on the rows to train on. For each target, and on the rows to train on only, the penalty
    :math:`\alpha` is the one of 33 between 1e-3 and 1e5 with the smallest generalised cross-validation error

    .. math:: \frac{\lVert y - \hat y_\alpha \rVert^2 / n}{(1 - (1 + \sum_j \lambda_j / (\lambda_j + \alpha)) / n)^2}

    (Golub, Heath & Wahba 1979), with :math:`\lambda_j` the squared singular values. The predictions of all folds
    together are scored against the mean of all rows.
    """
    error = np.zeros(permutations.n_columns)
    for fold in folds:
        train = (x[fold.train] - fold.mean) @ fold.axes
        test = (x[fold.test] - fold.mean) @ fold.axes
        for part, y in permuted_blocks(values, permutations):
            error[part] += fold_error(train, test, fold.energy, y[fold.train], y[fold.test])
    return 1 - error / len(x)


def fold_error(
    train: FloatArray, test: FloatArray, energy: FloatArray, y_train: FloatArray, y_test: FloatArray
) -> FloatArray:
    """Squared error of each target, summed over the rows held out.

    Parameters
    ----------
    train, test
        Rows on the principal axes of the rows to train on.
    energy
        Sum of squares of each column of `train`.
    y_train, y_test
        Targets `(n_rows, n_targets)`.
    """
    n = len(train)
    mean = y_train.mean(0)
    projected = train.T @ (y_train - mean)
    squared = projected**2
    total = np.square(y_train - mean).sum(0)
    # ||y - y_hat||^2 = ||y||^2 - sum_j q_j^2 (2 f_j - f_j^2) with q = U'y and f = energy / (energy + alpha)
    weights = (energy + 2 * ALPHAS[:, None]) / (energy + ALPHAS[:, None]) ** 2
    residual = np.maximum(total - weights @ squared, 0)
    freedom = 1 - (1 + np.sum(energy / (energy + ALPHAS[:, None]), axis=1)) / n
    score = residual / np.maximum(freedom, 1e-6)[:, None] ** 2
    alpha = ALPHAS[score.argmin(0)]
    predicted = mean + test @ (projected / (energy[:, None] + alpha))
    return np.square(y_test - predicted).sum(0)
