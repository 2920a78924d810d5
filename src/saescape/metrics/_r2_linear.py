from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape.superposition._arrays import as_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray

_N_FOLDS = 5


def r2_linear(x: FloatArray, z: FloatArray, groups: Sequence[object] | np.ndarray | None = None) -> float:
    """How much of some variables a linear map of a representation predicts on rows that it has not seen.

    Parameters
    ----------
    x
        Representation `(n, d)`.
    z
        Variables to predict `(n, m)`, such as true concepts; those without variance are left out.
    groups
        Donor, plate or well of each row: whole groups are held out. None holds out single rows.

    Returns
    -------
    Coefficient of determination of ordinary least squares with intercept over five folds, against the mean of the
    training rows, averaged over variables with equal weight. 1 is perfect, 0 as good as the mean, negative worse. With
    `m` independent variables in ``d < m`` dimensions no linear map exceeds about ``d / m``.

    Raises
    ------
    ValueError
        For unequal numbers of rows, fewer than five rows, fewer than two groups, non-finite values, and when no
        variable varies.

    Notes
    -----
    Klindt et al. (2021), Towards nonlinear disentanglement in natural data with temporal sparse coding, score the
    recovery of latents in this way with a single split.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(sae.metrics.r2_linear(x, x @ np.array([[1.0], [2.0], [3.0]]) + 1), 6)
    1.0
    """
    from sklearn.model_selection import GroupKFold, KFold

    x, z = as_pair(("x", "z"), x, z, min_rows=_N_FOLDS)
    z = z[:, np.ptp(z, axis=0) > 0]
    if not z.shape[1]:
        msg = "`z` has no variance: every column is constant."
        raise ValueError(msg)
    if groups is None:
        splits = KFold(_N_FOLDS, shuffle=True, random_state=0).split(x)
    else:
        labels = np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
        n_groups = int(labels.max()) + 1 if len(labels) else 0
        if len(labels) != len(x) or n_groups < 2:
            msg = f"`groups` must have one entry per row ({len(x)}) and two groups, found {len(labels)} and {n_groups}."
            raise ValueError(msg)
        splits = GroupKFold(min(_N_FOLDS, n_groups)).split(x, groups=labels)
    error, variance = np.zeros(z.shape[1]), np.zeros(z.shape[1])
    for train, test in splits:
        centre, mean = x[train].mean(0), z[train].mean(0)
        coefficients = np.linalg.lstsq(x[train] - centre, z[train] - mean, rcond=None)[0]
        difference = z[test] - mean
        error += np.square(difference - (x[test] - centre) @ coefficients).sum(0)
        variance += np.square(difference).sum(0)
    return float(np.mean(1 - error / variance))
