from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from saescape._typing import FloatArray


def l0(codes: FloatArray | sparse.spmatrix) -> float:
    """Mean number of active (non-zero) features per row.

    Parameters
    ----------
    codes
        Codes `(n, n_features)`, dense or sparse; stored zeros do not count.

    Returns
    -------
    The mean number.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> sae.metrics.l0(np.array([[1.0, 0.0], [2.0, 3.0]]))
    1.5
    """
    if codes.ndim != 2 or codes.shape[0] == 0:
        msg = f"`codes` must be 2-D with at least one row, found shape {codes.shape}."
        raise ValueError(msg)
    n_active = np.count_nonzero(sparse.csr_matrix(codes).data if sparse.issparse(codes) else codes)
    return float(n_active / codes.shape[0])
