from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from saescape._docs import doc_params
from saescape._validate import check_finite, check_integer
from saescape.sae._stability import unit_rows

from ._null import null_generator, random_like, upper_pvalue

if TYPE_CHECKING:
    from saescape._typing import FloatArray, Rng


@overload
def mmcs(
    dictionary: FloatArray,
    dictionary_true: FloatArray,
    *,
    n_random: int = ...,
    rng: Rng = ...,
    return_info: Literal[False] = ...,
) -> float: ...
@overload
def mmcs(
    dictionary: FloatArray,
    dictionary_true: FloatArray,
    *,
    n_random: int = ...,
    rng: Rng = ...,
    return_info: Literal[True],
) -> tuple[float, dict[str, Any]]: ...
@doc_params
def mmcs(
    dictionary: FloatArray,
    dictionary_true: FloatArray,
    *,
    n_random: int = 0,
    rng: Rng = 0,
    return_info: bool = False,
) -> float | tuple[float, dict[str, Any]]:
    """Mean maximum cosine similarity of true directions with the learned ones.

    Chance is far from 0, because the largest of many cosines grows with their number: compare with `n_random`.

    Parameters
    ----------
    dictionary
        Learned directions in rows `(n_features, d)`, such as `W_dec_`. Rows of zeros are no directions.
    dictionary_true
        True directions in rows `(n_true, d)`, none of them zero.
    n_random
        Random dictionaries of the size of `dictionary` (uniform directions) for the null distribution in the info.
    {rng}
    return_info
        Return the matches and the null as well.

    Returns
    -------
    Mean over true directions of the largest cosine with a learned one. Several true directions may share one. With
    `return_info=True` also a dict: `nearest` (index of the learned direction of each true one), `cosines` of these
    pairs, `null` (the score of each random dictionary) and `pvalue`
    (``(1 + number of null >= score) / (1 + n_random)``, NaN without random dictionaries).

    Raises
    ------
    ValueError
        For shapes that do not fit, non-finite values and true directions of zeros.

    Notes
    -----
    Sharkey, Braun & Millidge (2022), Taking features out of superposition with sparse autoencoders. Cosines keep their
    sign because codes are non-negative: the opposite direction is no recovery. Unlike :func:`~saescape.metrics.pw_mcc`
    and :func:`~saescape.metrics.mcc` the match is not one to one.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> sae.metrics.mmcs(np.array([[2.0, 0.0], [1.0, 1.0]]), np.eye(2)).__round__(4)
    0.8536
    >>> true = np.random.default_rng(0).normal(size=(32, 16))
    >>> score, info = sae.metrics.mmcs(true, true, n_random=99, return_info=True)
    >>> print(f"{score:.2f}, by chance {info['null'].mean():.2f}, p = {info['pvalue']}")
    1.00, by chance 0.50, p = 0.01
    """
    n_random = check_integer("n_random", n_random, 0)
    learned: FloatArray = np.asarray(dictionary, dtype=np.float64)
    true: FloatArray = np.asarray(dictionary_true, dtype=np.float64)
    if learned.ndim != 2 or true.ndim != 2 or learned.shape[1] != true.shape[1] or 0 in (*learned.shape, *true.shape):
        msg = (
            "`dictionary` and `dictionary_true` must be 2-D with rows of equal length, "
            f"found {learned.shape} and {true.shape}."
        )
        raise ValueError(msg)
    check_finite(learned, "`dictionary`")
    check_finite(true, "`dictionary_true`")
    if not true.any(1).all():
        msg = f"`dictionary_true` has {int((~true.any(1)).sum())} rows of zeros, which have no direction."
        raise ValueError(msg)
    true = unit_rows(true)
    cosines = true @ unit_rows(learned).T
    score = float(cosines.max(1).mean())
    if not return_info:
        return score
    generator = null_generator(rng)
    null = np.array(
        [float((true @ unit_rows(random_like(learned, generator)).T).max(1).mean()) for _ in range(n_random)]
    )
    nearest = cosines.argmax(1)
    return score, {
        "nearest": nearest,
        "cosines": cosines[np.arange(len(true)), nearest],
        "null": null,
        "pvalue": upper_pvalue(score, null),
    }
