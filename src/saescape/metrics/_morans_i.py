from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from saescape._validate import check_integer
from saescape.superposition._arrays import as_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy import sparse

    from saescape._typing import FloatArray


@overload
def morans_i(
    x: FloatArray | sparse.csr_matrix,
    y: FloatArray | Sequence[float],
    k: int = ...,
    *,
    return_info: Literal[False] = ...,
) -> float: ...
@overload
def morans_i(
    x: FloatArray | sparse.csr_matrix,
    y: FloatArray | Sequence[float],
    k: int = ...,
    *,
    return_info: Literal[True],
) -> tuple[float, dict[str, Any]]: ...
def morans_i(
    x: FloatArray | sparse.csr_matrix, y: FloatArray | Sequence[float], k: int = 15, *, return_info: bool = False
) -> float | tuple[float, dict[str, Any]]:
    r"""Moran's I of a variable on the graph of nearest neighbours in a representation.

    .. math:: I = \frac{1}{nk} \sum_i \sum_{j \in N_k(i)} z_i z_j

    with the standardised variable `z` and the `k` nearest other rows :math:`N_k(i)` (weights 1, not made symmetric).

    Parameters
    ----------
    x
        Representation `(n, d)`.
    y
        Variable `(n,)`.
    k
        Neighbours of each row (Euclidean distance, exact up to 50,000 rows, without the row itself), less than `n`.
    return_info
        Return exact moments under no association as well.

    Returns
    -------
    About 1 when neighbours are equal and :math:`-1/(n - 1)` on average when they have nothing in common. With
    `return_info=True` also a dict: `expected`; `sd` and `sd_normal`, the exact standard deviations when the values are
    exchanged at random (NaN below four rows) and when they are independent normal numbers; `z` and the one-sided
    `pvalue` from `sd` and the normal distribution. These suppose that rows are exchangeable: not so for cells of
    several plates or donors, for which :func:`saescape.tl.compare_representations` permutes within batches.

    Raises
    ------
    ValueError
        For unequal lengths, non-finite values, a variable that is constant and a `k` not between 1 and ``n - 1``.

    Notes
    -----
    Moran (1950), *Notes on continuous stochastic phenomena*; moments of Cliff & Ord (1981), *Spatial processes*. The
    variance depends on the graph: formulas in the number of rows alone are several times too large.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> value, info = sae.metrics.morans_i(x, x[:, 0], k=10, return_info=True)
    >>> bool(value > 0.5), bool(info["pvalue"] < 1e-6)
    (True, True)
    """
    from saescape.representations._autocorrelation import autocorrelation, shells
    from saescape.representations._graph import nearest
    from saescape.representations._permutations import observed_only

    data, values = phenotype_pair(x, y)
    k = check_integer("k", k, 1, len(data) - 1, high_name="n - 1")
    neighbors = nearest(data, k, np.random.default_rng(0))
    value = float(autocorrelation(neighbors, values, [k], observed_only(len(values)))["morans_i"][0, 0])
    if not return_info:
        return value
    from scipy.stats import norm

    from saescape.representations._moments import moran_moments

    expected, sd_normal, sd = moran_moments(shells(neighbors, [k])[0], values)
    z = (value - expected) / sd if sd > 0 else float("nan")
    info = {"expected": expected, "sd": sd, "sd_normal": sd_normal, "z": z, "pvalue": float(norm.sf(z))}
    return value, info


def phenotype_pair(x: Any, y: Any) -> tuple[FloatArray, FloatArray]:
    """A representation and a variable of the same rows, checked."""
    data = as_matrix("x", x)
    values = np.asarray(y, dtype=np.float64)
    if values.shape != (len(data),):
        msg = f"`y` must have one number per row of `x` ({len(data)}), found shape {values.shape}."
        raise ValueError(msg)
    as_matrix("y", values[:, None])
    if np.all(values == values[0]):
        msg = "`y` is constant; it has to vary."
        raise ValueError(msg)
    return data, values
