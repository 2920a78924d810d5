from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from saescape._docs import doc_params
from saescape._random import as_generator, child_seed
from saescape._validate import check_integer

from ._morans_i import phenotype_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy import sparse

    from saescape._typing import FloatArray, Rng


@overload
def local_sd_ratio(
    x: FloatArray | sparse.csr_matrix,
    y: FloatArray | Sequence[float],
    k: int = ...,
    *,
    n_perms: int = ...,
    rng: Rng = ...,
    return_info: Literal[False] = ...,
) -> float: ...
@overload
def local_sd_ratio(
    x: FloatArray | sparse.csr_matrix,
    y: FloatArray | Sequence[float],
    k: int = ...,
    *,
    n_perms: int = ...,
    rng: Rng = ...,
    return_info: Literal[True],
) -> tuple[float, dict[str, Any]]: ...
@doc_params
def local_sd_ratio(
    x: FloatArray | sparse.csr_matrix,
    y: FloatArray | Sequence[float],
    k: int = 15,
    *,
    n_perms: int = 200,
    rng: Rng = 0,
    return_info: bool = False,
) -> float | tuple[float, dict[str, Any]]:
    r"""Standard deviation of a variable among nearest neighbours, relative to that among random cells.

    .. math:: \frac1n \sum_i \frac{\mathrm{SD}(y_j : j \in N_k(i))}{\mathrm{SD}(y)}

    with the `k` nearest other rows :math:`N_k(i)`, divided by the mean of the same when `y` is permuted. The raw ratio
    has no fixed level of chance: the SD of few values is too small on average (ddof 0), the more so for variables with
    many zeros, so that it is .6 to .97 without any association and rises with `k`.

    Parameters
    ----------
    x
        Representation `(n, d)`.
    y
        Variable `(n,)`.
    k
        Neighbours of each row (Euclidean distance, exact up to 50,000 rows, without the row itself), from 2 to `n - 1`.
    n_perms
        Permutations of `y`.
    {rng}
    return_info
        Return the raw ratio and its null as well.

    Returns
    -------
    1 when neighbours are as different as random cells, 0 when they are equal. With `return_info=True` also a dict:
    `raw`, the ratio before division; `null_mean` and `null_sd` of the permutations; one-sided `pvalue`
    (``(1 + number of null <= raw) / (1 + n_perms)``).

    Raises
    ------
    ValueError
        For unequal lengths, non-finite values, a variable that is constant and a `k` not between 2 and ``n - 1``.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> sae.metrics.local_sd_ratio(x, x[:, 0], k=10) < 0.6
    True
    """
    from saescape.representations._autocorrelation import autocorrelation
    from saescape.representations._graph import nearest
    from saescape.representations._null import against_null
    from saescape.representations._permutations import Permutations

    data, values = phenotype_pair(x, y)
    n_perms = check_integer("n_perms", n_perms)
    k = check_integer("k", k, 2, len(data) - 1, high_name="n - 1")
    generator = as_generator(rng)
    neighbors = nearest(data, k, generator)
    permutations = Permutations(np.zeros(len(values), dtype=np.int64), "cells", n_perms, child_seed(generator))
    found = autocorrelation(neighbors, values, [k], permutations)["local_sd_ratio"][0]
    info = against_null("local_sd_ratio", found)
    value = float(info["ratio"])
    if not return_info:
        return value
    names = ("null_mean", "null_sd", "pvalue")
    return value, {"raw": float(found[0]), **{name: float(info[name]) for name in names}}
