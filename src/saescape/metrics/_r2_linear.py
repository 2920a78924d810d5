from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from saescape._docs import doc_params
from saescape._random import as_generator
from saescape._validate import check_integer
from saescape.superposition._arrays import as_pair

from ._null import upper_pvalue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from saescape._typing import FloatArray, IntArray, Rng

_N_FOLDS = 5


@overload
def r2_linear(
    x: FloatArray,
    z: FloatArray,
    groups: Sequence[object] | np.ndarray | None = ...,
    *,
    n_perms: int = ...,
    rng: Rng = ...,
    return_info: Literal[False] = ...,
) -> float: ...
@overload
def r2_linear(
    x: FloatArray,
    z: FloatArray,
    groups: Sequence[object] | np.ndarray | None = ...,
    *,
    n_perms: int = ...,
    rng: Rng = ...,
    return_info: Literal[True],
) -> tuple[float, dict[str, Any]]: ...
@doc_params
def r2_linear(
    x: FloatArray,
    z: FloatArray,
    groups: Sequence[object] | np.ndarray | None = None,
    *,
    n_perms: int = 0,
    rng: Rng = 0,
    return_info: bool = False,
) -> float | tuple[float, dict[str, Any]]:
    r"""How much of some variables a linear map of a representation predicts on rows that it has not seen.

    Parameters
    ----------
    x
        Representation `(n, d)`.
    z
        Variables to predict `(n, m)`, such as true concepts; those without variance are left out.
    groups
        Donor, plate or well of each row: whole groups are held out. None holds out single rows.
    n_perms
        Permutations of the rows of `z` for the null distribution in the info, within groups when there are any.
    {rng}
    return_info
        Return the value of each variable and the null as well.

    Returns
    -------
    Coefficient of determination of ordinary least squares with intercept over five folds, against the mean of the
    training rows, averaged over variables with equal weight. 1 is perfect, 0 as good as the mean, negative worse. With
    `return_info=True` also a dict: `r2` of each column of `z` (NaN without variance), `null` (the score of each
    permutation) and `pvalue` (``(1 + number of null >= score) / (1 + n_perms)``, NaN without permutations).

    Raises
    ------
    ValueError
        For unequal numbers of rows, fewer than five rows, fewer than two groups, non-finite values, and when no
        variable varies.

    Notes
    -----
    Klindt et al. (2021), Towards nonlinear disentanglement in natural data with temporal sparse coding, score the
    recovery of latents in this way with a single split.

    The linear ceiling: when `m` uncorrelated variables with any variances are mixed into fewer dimensions,
    :math:`x = zA`, the best linear map explains :math:`\operatorname{rank}(A) / m \le d / m` on average, because
    the :math:`R^2_i` are the diagonal of a projection of that rank. A code that does better has used their sparsity.

    Under the null the score is somewhat below 0, by about ``d / n``: a fit to nothing predicts worse than the mean.
    With groups, the null keeps what group membership alone tells; a variable that is constant within groups cannot be
    tested (its p-value is 1).

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(sae.metrics.r2_linear(x, x @ np.array([[1.0], [2.0], [3.0]]) + 1), 6)
    1.0
    >>> score, info = sae.metrics.r2_linear(x, x[:, :1] + 1, n_perms=99, return_info=True)
    >>> info["pvalue"]
    0.01
    """
    n_perms = check_integer("n_perms", n_perms, 0)
    x, z = as_pair(("x", "z"), x, z, min_rows=_N_FOLDS)
    varies = np.ptp(z, axis=0) > 0
    if not varies.any():
        msg = "`z` has no variance: every column is constant."
        raise ValueError(msg)
    labels = np.zeros(len(x), dtype=np.int64) if groups is None else _group_labels(groups, len(x))
    orders: list[IntArray] = [np.arange(len(x))]
    if return_info:
        generator = as_generator(rng)
        orders += [_within(labels, generator) for _ in range(n_perms)]
    values = _held_out(x, z[:, varies], _splits(len(x), None if groups is None else labels), orders)
    scores = values.mean(1)
    score = float(scores[0])
    if not return_info:
        return score
    each = np.full(z.shape[1], np.nan)
    each[varies] = values[0]
    return score, {"r2": each, "null": scores[1:], "pvalue": upper_pvalue(score, scores[1:])}


def _group_labels(groups: Sequence[object] | np.ndarray, n: int) -> IntArray:
    labels = np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
    n_groups = int(labels.max()) + 1 if len(labels) else 0
    if len(labels) != n or n_groups < 2:
        msg = f"`groups` must have one entry per row ({n}) and two groups, found {len(labels)} and {n_groups}."
        raise ValueError(msg)
    return labels


def _within(labels: IntArray, rng: np.random.Generator) -> IntArray:
    """A random order of rows that exchanges only rows of the same label."""
    shuffled = rng.permutation(len(labels))
    order = np.empty(len(labels), dtype=np.int64)
    order[np.argsort(labels, kind="stable")] = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return order


def _splits(n: int, labels: IntArray | None) -> Iterable[tuple[IntArray, IntArray]]:
    from sklearn.model_selection import GroupKFold, KFold

    if labels is None:
        return KFold(_N_FOLDS, shuffle=True, random_state=0).split(np.empty((n, 1)))
    return GroupKFold(min(_N_FOLDS, int(labels.max()) + 1)).split(np.empty((n, 1)), groups=labels)


def _held_out(
    x: FloatArray, z: FloatArray, splits: Iterable[tuple[IntArray, IntArray]], orders: list[IntArray]
) -> FloatArray:
    """Coefficient of determination `(orders, m)` for each order of the rows of `z`; each fold is solved once."""
    error, variance = np.zeros((len(orders), z.shape[1])), np.zeros((len(orders), z.shape[1]))
    for train, test in splits:
        centre = x[train].mean(0)
        inverse = np.linalg.pinv(x[train] - centre, rcond=max(len(train), x.shape[1]) * np.finfo(np.float64).eps)
        held_out = x[test] - centre
        for i, order in enumerate(orders):
            mean = z[order[train]].mean(0)
            difference = z[order[test]] - mean
            error[i] += np.square(difference - held_out @ (inverse @ (z[order[train]] - mean))).sum(0)
            variance[i] += np.square(difference).sum(0)
    return 1 - error / variance
