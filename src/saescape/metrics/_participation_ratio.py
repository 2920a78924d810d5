from __future__ import annotations

from typing import TYPE_CHECKING

from saescape.superposition._arrays import as_matrix
from saescape.superposition._spectrum import covariance_spectrum, spectral_participation

if TYPE_CHECKING:
    from saescape._typing import FloatArray


def participation_ratio(x: FloatArray) -> float:
    r"""Number of directions that a cloud of points uses, by the spread of its variance.

    Parameters
    ----------
    x
        Data `(n, d)`; columns are centred first.

    Returns
    -------
    :math:`(\sum_i \lambda_i)^2 / \sum_i \lambda_i^2` with the eigenvalues of the covariance: between 1 and
    ``min(n - 1, d)``, and 0 without any variance. `n` isotropic points give about ``d / (1 + d / n)``, not `d`.

    Raises
    ------
    ValueError
        For other than two dimensions, fewer than two rows and non-finite values.

    Notes
    -----
    Gao et al. (2017), A theory of multineuronal dimensionality, dynamics and measurement, equation 5.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> round(sae.metrics.participation_ratio(np.vstack([np.eye(3), -np.eye(3)])), 6)
    3.0
    """
    return spectral_participation(covariance_spectrum(as_matrix("x", x)))
