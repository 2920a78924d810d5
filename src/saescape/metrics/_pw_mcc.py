from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from saescape._docs import doc_params
from saescape._validate import check_finite, check_integer
from saescape.sae._stability import matched_cosines

from ._null import null_generator, random_like, upper_pvalue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray, Rng


@overload
def pw_mcc(
    dictionaries: Sequence[FloatArray],
    *,
    n_random: int = ...,
    rng: Rng = ...,
    return_info: Literal[False] = ...,
) -> float: ...
@overload
def pw_mcc(
    dictionaries: Sequence[FloatArray],
    *,
    n_random: int = ...,
    rng: Rng = ...,
    return_info: Literal[True],
) -> tuple[float, dict[str, Any]]: ...
@doc_params
def pw_mcc(
    dictionaries: Sequence[FloatArray],
    *,
    n_random: int = 0,
    rng: Rng = 0,
    return_info: bool = False,
) -> float | tuple[float, dict[str, Any]]:
    r"""Agreement of the dictionaries of several seeds: mean cosine of directions that are matched one to one.

    Chance is far from 0. Independent uniform directions agree by .46 with 32 features in 16 dimensions, .42 with 128 in
    32, .36 with 512 in 64 and .27 with 1,024 in 128, below the guide :math:`\sqrt{2 \ln m / d}`: compare with
    `n_random`.

    Parameters
    ----------
    dictionaries
        Two or more dictionaries with directions in rows `(n_features, d)`, such as `W_dec_` of fits with different
        seeds. Rows of zeros, and directions without a partner when the numbers of features differ, count as 0.
    n_random
        Sets of as many independent random dictionaries of the same sizes (uniform directions) for the null distribution
        in the info.
    {rng}
    return_info
        Return the agreement of each pair and the null as well.

    Returns
    -------
    Mean over pairs of dictionaries of the mean cosine. With `return_info=True` also a dict: `pairs` `(n, n)` (agreement
    of each pair, 1 on the diagonal), `null` (the score of each random set) and `pvalue`
    (``(1 + number of null >= score) / (1 + n_random)``, NaN without random sets).

    Raises
    ------
    ValueError
        For fewer than two dictionaries, shapes that do not fit and non-finite values.

    Notes
    -----
    The pairwise dictionary mean correlation coefficient of :cite:t:`Song2025`, with signs because codes are
    non-negative: the opposite direction is another feature. Directions are matched by the Hungarian method, whose time
    grows with the cube of the number of features. Where data use few of their dimensions, directions agree more than
    uniform ones do without any feature in common; :func:`saescape.tl.sae_sweep` compares with directions that have the
    covariance of the data, and with fits to data without features.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> rng = np.random.default_rng(0)
    >>> first = rng.normal(size=(32, 16))
    >>> second = rng.permutation(first) + 0.2 * rng.normal(size=(32, 16))
    >>> score, info = sae.metrics.pw_mcc([first, second], n_random=99, return_info=True)
    >>> print(f"{score:.2f}, by chance {info['null'].mean():.2f}, p = {info['pvalue']}")
    0.98, by chance 0.45, p = 0.01
    """
    n_random = check_integer("n_random", n_random, 0)
    checked = _check(dictionaries)
    score, agreement = _agreement(checked)
    if not return_info:
        return score
    generator = null_generator(rng)
    null = np.array([_agreement([random_like(rows, generator) for rows in checked])[0] for _ in range(n_random)])
    pairs = np.eye(len(checked))
    upper = np.triu_indices(len(checked), 1)
    pairs[upper] = pairs.T[upper] = agreement
    return score, {"pairs": pairs, "null": null, "pvalue": upper_pvalue(score, null)}


def _agreement(dictionaries: list[FloatArray]) -> tuple[float, FloatArray]:
    agreement = np.array([matched_cosines(*pair).mean() for pair in combinations(dictionaries, 2)])
    return float(agreement.mean()), agreement


def _check(dictionaries: Sequence[FloatArray]) -> list[FloatArray]:
    arrays: list[FloatArray] = [np.asarray(dictionary, dtype=np.float64) for dictionary in dictionaries]
    if len(arrays) < 2:
        msg = f"`dictionaries` must hold at least two, found {len(arrays)}."
        raise ValueError(msg)
    shapes = [array.shape for array in arrays]
    if any(len(shape) != 2 or 0 in shape for shape in shapes) or len({shape[1] for shape in shapes}) != 1:
        msg = f"`dictionaries` must be 2-D with rows of equal length, found {', '.join(map(str, shapes))}."
        raise ValueError(msg)
    for i, array in enumerate(arrays):
        check_finite(array, f"`dictionaries[{i}]`")
    return arrays
