from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape._validate import check_finite

if TYPE_CHECKING:
    from saescape._typing import FloatArray


def fvu(x: FloatArray, x_hat: FloatArray) -> float:
    """Fraction of variance unexplained by a reconstruction: 0 is perfect, 1 as good as the mean.

    Parameters
    ----------
    x
        Data `(n, d)`.
    x_hat
        Reconstruction `(n, d)`.

    Returns
    -------
    ``sum ||x_i - x_hat_i||^2 / sum ||x_i - mean(x)||^2``, that is one minus the coefficient of determination weighted
    by variance.

    Raises
    ------
    ValueError
        For shapes that differ, non-finite values and data without variance.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> x = np.array([[0.0], [2.0]])
    >>> sae.metrics.fvu(x, np.array([[0.0], [1.0]]))
    0.5
    """
    x, x_hat = np.asarray(x, dtype=np.float64), np.asarray(x_hat, dtype=np.float64)
    if x.shape != x_hat.shape or x.ndim != 2:
        msg = f"`x` and `x_hat` must be 2-D of equal shape, found {x.shape} and {x_hat.shape}."
        raise ValueError(msg)
    check_finite(x, "`x`")
    check_finite(x_hat, "`x_hat`")
    variance = float(np.square(x - x.mean(0)).sum()) if len(x) else 0.0
    if variance == 0:
        msg = "`x` has no variance: all rows are equal."
        raise ValueError(msg)
    return float(np.square(x - x_hat).sum()) / variance
