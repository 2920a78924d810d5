"""Changed codes, and what they change in the representation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

MODES = ("scale", "set", "add", "ablate")


def code_change(codes: sparse.csr_matrix, features: IntArray, mode: str, factor: float) -> FloatArray:
    """``z' - z`` `(n, len(features))` of the features that are steered; codes stay non-negative."""
    z = codes[:, features].toarray().astype(np.float64)
    if mode == "scale":
        return (factor - 1) * z
    if mode == "set":
        return factor - z
    if mode == "add":
        return np.maximum(factor, -z)
    return -z


def shifted(x: FloatArray | sparse.csr_matrix, change: FloatArray, directions: FloatArray) -> Any:
    """``x + change @ directions``: rows whose codes do not change stay as they are, bit by bit.

    Parameters
    ----------
    x
        Rows `(n, d)`, dense or sparse; not modified. Integers become float32.
    change
        ``z' - z`` `(n, n_features)`.
    directions
        Rows of the decoder `(n_features, d)`.
    """
    dtype = x.dtype if np.issubdtype(x.dtype, np.floating) else np.dtype(np.float32)
    rows = np.flatnonzero(change.any(1))
    if sparse.issparse(x):
        step = sparse.csr_matrix(change) @ sparse.csr_matrix(directions.astype(np.float64))
        same = x.astype(dtype, copy=True)
        return (same + step.astype(dtype)).tocsr() if len(rows) else same
    result = np.array(x, dtype=dtype)
    result[rows] += (change[rows] @ directions).astype(dtype)
    return result
