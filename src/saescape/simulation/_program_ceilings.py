"""What a linear map of noise-free expression can know about the variables that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import BoolArray, FloatArray

#: standard deviation of the shift of a cell around the mean of its covariate
SHIFT_SD = 0.1


def linear_ceilings(
    gene_mask: BoolArray, type_mask: BoolArray, rates: FloatArray, n_covariates: int, shift: float
) -> dict[str, float]:
    r"""Population coefficients of determination, averaged over the variables of each group.

    Parameters
    ----------
    gene_mask
        Genes of each program `(n_programs, n_genes)`.
    type_mask
        Programs of each cell type `(n_types, n_programs)`.
    rates
        Mean base activities `(n_programs,)`, which are their variances as well.
    n_covariates, shift
        Values of the covariate, and the shift between two of them.

    Returns
    -------
    `programs`, `programs_shifted`, `programs_base`, `cell_type`, `covariate`; NaN for a group that does not vary.

    Notes
    -----
    With ``x`` what the genes see of the active programs, ``S`` its covariance and ``c`` its covariance with a variable
    of variance ``v``, the best linear map explains ``c' S^+ c / v``. All three are moments of independent parts: base
    activities, the covariate, its noise, and the type, of which all values are equally frequent.
    """
    n_types = len(type_mask)
    on = type_mask.mean(0)
    together = type_mask.T.astype(np.float64) @ type_mask / n_types
    covariate_variance = (n_covariates**2 - 1) / 12
    common = shift**2 * covariate_variance + SHIFT_SD**2 if n_covariates > 1 else 0.0
    mean = rates + shift * (n_covariates - 1) / 2
    base = np.diag(rates)
    shifted = base + common
    active = (shifted + np.outer(mean, mean)) * together - np.outer(on * mean, on * mean)
    groups = {
        "programs": (active, np.diag(active)),
        "programs_shifted": (on[:, None] * shifted, np.diag(shifted)),
        "programs_base": (on[:, None] * base, rates),
        "cell_type": (
            (mean * (type_mask - on)).T / n_types,
            np.full(n_types, (1 - 1 / n_types) / n_types),
        ),
        "covariate": (
            (on * shift * covariate_variance)[:, None],
            np.array([covariate_variance]),
        ),
    }
    # genes see the programs through the range of their mask
    values, vectors = np.linalg.eigh(gene_mask.astype(np.float64) @ gene_mask.T)
    seen = vectors[:, values > values[-1] * len(values) * np.finfo(np.float64).eps]
    inverse = seen @ np.linalg.pinv(seen.T @ active @ seen, hermitian=True) @ seen.T
    return {name: _explained(inverse, covariance, variance) for name, (covariance, variance) in groups.items()}


def _explained(inverse: FloatArray, covariance: FloatArray, variance: FloatArray) -> float:
    varies = variance > 0
    if not varies.any():
        return float("nan")
    explained = np.einsum("ij,ik,kj->j", covariance, inverse, covariance, optimize=True)
    return float(np.mean(np.minimum(explained[varies] / variance[varies], 1.0)))
