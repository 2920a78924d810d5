from __future__ import annotations

from typing import TYPE_CHECKING

from saescape.superposition._arrays import as_matrix
from saescape.superposition._spectrum import covariance_spectrum, spectral_entropy_rank

if TYPE_CHECKING:
    from saescape._typing import FloatArray


def effective_rank(x: FloatArray) -> float:
    r"""Number of directions that a cloud of points uses, by the entropy of its singular values.

    Parameters
    ----------
    x
        Data `(n, d)`; columns are centred first.

    Returns
    -------
    :math:`\exp(-\sum_i p_i \ln p_i)` with :math:`p_i = \sigma_i / \sum_j \sigma_j`: between 1 and ``min(n - 1, d)``,
    equal to `d` when all directions have the same variance, and 0 without any variance. Compare only data of the same
    number of rows: few rows never look isotropic.

    Raises
    ------
    ValueError
        For other than two dimensions, fewer than two rows and non-finite values.

    Notes
    -----
    Roy & Vetterli (2007), The effective rank: a measure of effective dimensionality, EUSIPCO, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> round(sae.metrics.effective_rank(np.vstack([np.eye(3), -np.eye(3)])), 6)
    3.0
    """
    return spectral_entropy_rank(covariance_spectrum(as_matrix("x", x)))
