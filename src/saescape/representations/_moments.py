"""Exact moments of Moran's I when values are exchanged freely."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray


def moran_moments(weights: sparse.csr_matrix, values: FloatArray) -> tuple[float, float, float]:
    r"""Expectation of Moran's I and its standard deviation under normality and under randomisation.

    With :math:`S_0 = \sum_{ij} w_{ij}`, :math:`S_1 = \frac12 \sum_{ij} (w_{ij} + w_{ji})^2`,
    :math:`S_2 = \sum_i (w_{i.} + w_{.i})^2` and the kurtosis :math:`b_2 = n \sum z^4 / (\sum z^2)^2`,

    .. math::
        E[I] &= -\frac{1}{n - 1} \\
        E_N[I^2] &= \frac{n^2 S_1 - n S_2 + 3 S_0^2}{(n^2 - 1) S_0^2} \\
        E_R[I^2] &= \frac{n ((n^2 - 3n + 3) S_1 - n S_2 + 3 S_0^2)
            - b_2 ((n^2 - n) S_1 - 2n S_2 + 6 S_0^2)}{(n - 1)(n - 2)(n - 3) S_0^2}

    (Cliff & Ord 1981, *Spatial processes*, sections 2.3 and 2.4; the diagonal of `weights` must be zero).

    Parameters
    ----------
    weights
        Weights `(n, n)` of the graph, of any symmetry.
    values
        Numbers `(n,)`, of which randomisation needs the kurtosis.

    Returns
    -------
    Expectation and both standard deviations; the second is NaN below four rows.
    """
    n = len(values)
    symmetric = weights + weights.T
    s0 = float(weights.sum())
    s1 = float(symmetric.multiply(symmetric).sum()) / 2
    s2 = float(np.square(np.asarray(symmetric.sum(1)).ravel()).sum())
    expected = -1 / (n - 1)
    normal = (n**2 * s1 - n * s2 + 3 * s0**2) / ((n**2 - 1) * s0**2) - expected**2
    sd_normal = float(np.sqrt(max(normal, 0)))
    if n < 4:
        return expected, sd_normal, float("nan")
    z = values - values.mean()
    kurtosis = n * np.sum(z**4) / np.sum(z**2) ** 2
    random = n * ((n**2 - 3 * n + 3) * s1 - n * s2 + 3 * s0**2)
    random -= kurtosis * ((n**2 - n) * s1 - 2 * n * s2 + 6 * s0**2)
    random = random / ((n - 1) * (n - 2) * (n - 3) * s0**2) - expected**2
    return expected, sd_normal, float(np.sqrt(max(random, 0)))
