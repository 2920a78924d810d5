from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from saescape._typing import FloatArray


def dead_fraction(codes: FloatArray | sparse.spmatrix) -> float:
    """Share of features that are zero in every row.

    Parameters
    ----------
    codes
        Codes `(n, n_features)`, dense or sparse.

    Returns
    -------
    The share. It says something only for rows as many and as varied as those of the training.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> sae.metrics.dead_fraction(np.array([[1.0, 0.0], [2.0, 0.0]]))
    0.5
    """
    if codes.ndim != 2 or 0 in codes.shape:
        msg = f"`codes` must be 2-D with at least one row and one feature, found shape {codes.shape}."
        raise ValueError(msg)
    if sparse.issparse(codes):
        compressed = sparse.csc_matrix(codes, copy=True)
        compressed.eliminate_zeros()
        alive = np.diff(compressed.indptr) > 0
    else:
        alive = (np.asarray(codes) != 0).any(0)
    return float(1 - alive.mean())
