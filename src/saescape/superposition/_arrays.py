from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from saescape._validate import check_finite

if TYPE_CHECKING:
    from saescape._typing import FloatArray


def as_matrix(name: str, x: Any, *, min_rows: int = 2) -> FloatArray:
    """`x` as a dense finite 2-D float64 array, or an error that names it."""
    array = x.toarray() if sparse.issparse(x) else x
    array = np.asarray(array, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        msg = f"`{name}` must be 2-D with at least one column, found shape {array.shape}."
        raise ValueError(msg)
    if len(array) < min_rows:
        msg = f"`{name}` must have at least {min_rows} rows, found {len(array)}."
        raise ValueError(msg)
    check_finite(array, f"`{name}`")
    return array


def as_pair(names: tuple[str, str], x: Any, y: Any, *, min_rows: int = 2) -> tuple[FloatArray, FloatArray]:
    """Two matrices about the same rows."""
    first, second = as_matrix(names[0], x, min_rows=min_rows), as_matrix(names[1], y, min_rows=min_rows)
    if len(first) != len(second):
        msg = f"`{names[0]}` and `{names[1]}` must have the same number of rows, found {len(first)} and {len(second)}."
        raise ValueError(msg)
    return first, second
