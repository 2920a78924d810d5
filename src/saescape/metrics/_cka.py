from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape.superposition._arrays import as_pair

if TYPE_CHECKING:
    from saescape._typing import FloatArray


def cka(x: FloatArray, y: FloatArray, *, debiased: bool = False) -> float:
    r"""Linear centred kernel alignment: how far two representations of the same rows agree up to rotation and scale.

    Parameters
    ----------
    x
        Data `(n, d)`.
    y
        The same rows in the other representation `(n, e)`.
    debiased
        Use the unbiased estimator of the Hilbert-Schmidt independence criterion (at least four rows), which is about 0
        for unrelated data and can be negative. The plain one is not: see below.

    Returns
    -------
    :math:`\lVert Y^T X \rVert_F^2 / (\lVert X^T X \rVert_F \lVert Y^T Y \rVert_F)` of centred data, between 0 and 1;
    NaN when the debiased norm of a representation is not positive. Computed from features, or from rows where these are
    fewer.

    Raises
    ------
    ValueError
        For unequal numbers of rows, non-finite values and data without variance.

    Notes
    -----
    Kornblith et al. (2019), Similarity of neural network representations revisited, equation 4. Debiased: Song et al.
    (2012), Feature selection via dependence maximization, equation 5, as used by Nguyen, Raghu & Kornblith (2021),
    equation 3.

    By chance, for independent isotropic data, the plain form is about :math:`\sqrt{de / ((n + d)(n + e))}`: near 1 with
    more dimensions than rows.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(30, 100))
    >>> rotation = np.linalg.qr(rng.normal(size=(100, 100)))[0]
    >>> round(sae.metrics.cka(x, 3 * x @ rotation), 6)
    1.0
    """
    first, second = as_pair(("x", "y"), x, y, min_rows=4 if debiased else 2)
    for name, array in {"x": first, "y": second}.items():
        if not np.ptp(array, axis=0).any():
            msg = f"`{name}` has no variance: all rows are equal."
            raise ValueError(msg)
    first, second = first - first.mean(0), second - second.mean(0)
    criterion = _debiased_hsic if debiased else _hsic
    norm_x, norm_y = criterion(first, first), criterion(second, second)
    if min(norm_x, norm_y) <= 0:
        return float("nan")
    return float(criterion(first, second) / np.sqrt(norm_x * norm_y))


def _hsic(x: FloatArray, y: FloatArray) -> float:
    if len(x) ** 2 < x.shape[1] * y.shape[1]:
        return float(np.sum((x @ x.T) * (y @ y.T)))
    return float(np.square(x.T @ y).sum())


def _debiased_hsic(x: FloatArray, y: FloatArray) -> float:
    """HSIC_1 for linear kernels with zero diagonals; without the factor ``1 / (n (n - 3))``."""
    n = len(x)
    diag_x, diag_y = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
    rows_x, rows_y = x @ x.sum(0) - diag_x, y @ y.sum(0) - diag_y
    trace = _hsic(x, y) - diag_x @ diag_y
    return float(trace + rows_x.sum() * rows_y.sum() / ((n - 1) * (n - 2)) - 2 * (rows_x @ rows_y) / (n - 2))
