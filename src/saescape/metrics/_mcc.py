from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from saescape._docs import doc_params
from saescape._random import as_generator
from saescape._validate import check_finite, check_integer

from ._null import upper_pvalue

if TYPE_CHECKING:
    from saescape._typing import FloatArray, Rng


@overload
def mcc(
    codes: FloatArray | sparse.spmatrix,
    codes_true: FloatArray | sparse.spmatrix,
    *,
    signed: bool = ...,
    n_perms: int = ...,
    rng: Rng = ...,
    return_info: Literal[False] = ...,
) -> float: ...
@overload
def mcc(
    codes: FloatArray | sparse.spmatrix,
    codes_true: FloatArray | sparse.spmatrix,
    *,
    signed: bool = ...,
    n_perms: int = ...,
    rng: Rng = ...,
    return_info: Literal[True],
) -> tuple[float, dict[str, Any]]: ...
@doc_params
def mcc(
    codes: FloatArray | sparse.spmatrix,
    codes_true: FloatArray | sparse.spmatrix,
    *,
    signed: bool = False,
    n_perms: int = 0,
    rng: Rng = 0,
    return_info: bool = False,
) -> float | tuple[float, dict[str, Any]]:
    """Mean correlation coefficient of true sources with the features matched to them one to one.

    Chance is not 0 but about ``sqrt(2 ln(n_features) / n)`` for independent codes: compare with `n_perms`, and with a
    random dictionary.

    Parameters
    ----------
    codes
        Codes `(n, n_features)`, dense or sparse. Constant features correlate with nothing.
    codes_true
        True sources `(n, n_sources)`, dense or sparse.
    signed
        Match by the correlation itself instead of its absolute value.
    n_perms
        Permutations of the rows of `codes_true` for the null distribution in the info.
    {rng}
    return_info
        Return the matching as well.

    Returns
    -------
    Mean over sources of the (absolute) Pearson correlation with their feature; sources without a feature, when there
    are fewer features than sources, count as 0. With `return_info=True` also a dict: `pairs` `(n_matched, 2)` of
    feature and source, `correlations` of the pairs, `null` (the score of each permutation) and `pvalue`
    (``(1 + number of null >= score) / (1 + n_perms)``, NaN without permutations).

    Raises
    ------
    ValueError
        For numbers of rows that differ, non-finite values, and sources without variance.

    Notes
    -----
    Hyvarinen & Morioka (2016), arXiv 1605.06336, section 5; matching by the Hungarian method.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> true = np.random.default_rng(0).exponential(size=(100, 3))
    >>> sae.metrics.mcc(2 * true[:, [2, 0]], true).__round__(4)
    0.6667
    """
    n_perms = check_integer("n_perms", n_perms, 0)
    features, sources = _prepare(codes, "codes"), _prepare(codes_true, "codes_true")
    if features.shape[0] != sources.shape[0]:
        msg = f"`codes` and `codes_true` must have the same rows, found {features.shape[0]} and {sources.shape[0]}."
        raise ValueError(msg)
    sd_sources = _standard_deviation(sources)
    if (sd_sources == 0).any():
        constant = np.flatnonzero(sd_sources == 0)
        msg = f"`codes_true` has {len(constant)} sources without variance, the first in column {constant[0]}."
        raise ValueError(msg)
    sd_features = _standard_deviation(features)
    score, pairs, correlations = _match(features, sources, sd_features, sd_sources, signed=signed)
    if not return_info:
        return score
    generator = as_generator(rng)
    null = np.array(
        [
            _match(
                features,
                sources[generator.permutation(sources.shape[0])],
                sd_features,
                sd_sources,
                signed=signed,
            )[0]
            for _ in range(n_perms)
        ]
    )
    return score, {"pairs": pairs, "correlations": correlations, "null": null, "pvalue": upper_pvalue(score, null)}


def _prepare(codes: Any, name: str) -> sparse.csr_matrix | np.ndarray:
    if codes.ndim != 2 or 0 in codes.shape:
        msg = f"`{name}` must be 2-D and not empty, found shape {codes.shape}."
        raise ValueError(msg)
    if sparse.issparse(codes):
        matrix = sparse.csr_matrix(codes, dtype=np.float64)
        check_finite(matrix.data, f"`{name}`")
        return matrix
    array = np.asarray(codes, dtype=np.float64)
    check_finite(array, f"`{name}`")
    return array


def _mean(codes: Any) -> np.ndarray:
    return np.asarray(codes.mean(0)).ravel()


def _standard_deviation(codes: Any) -> np.ndarray:
    mean = _mean(codes)
    if sparse.issparse(codes):
        variance = np.asarray(codes.multiply(codes).mean(0)).ravel() - mean**2
        # rounding of a constant column
        variance[variance < 1e-12 * mean**2] = 0
        return np.sqrt(np.maximum(variance, 0))
    sd = np.asarray(codes).std(0)
    sd[sd < 1e-6 * np.abs(mean)] = 0
    return sd


def _match(
    features: Any, sources: Any, sd_features: np.ndarray, sd_sources: np.ndarray, *, signed: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    product = features.T @ sources
    product = product.toarray() if sparse.issparse(product) else np.asarray(product)
    covariance = product / features.shape[0] - np.outer(_mean(features), _mean(sources))
    scale = np.outer(sd_features, sd_sources)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    correlation = np.clip(correlation if signed else np.abs(correlation), -1, 1)
    rows, cols = linear_sum_assignment(correlation, maximize=True)
    matched = correlation[rows, cols]
    return float(matched.sum() / sources.shape[1]), np.column_stack([rows, cols]), matched
