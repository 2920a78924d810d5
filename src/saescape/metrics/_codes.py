"""Codes and labels as the measures of single features take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from saescape._validate import check_finite

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray


def as_codes(codes: Any) -> sparse.csr_matrix:
    """Non-negative codes `(n, m)` as CSR without stored zeros, or an error."""
    matrix = sparse.csr_matrix(codes, dtype=np.float64, copy=True)
    if np.ndim(codes) != 2 or 0 in matrix.shape:
        msg = f"`codes` must be 2-D and not empty, found shape {np.shape(codes)}."
        raise ValueError(msg)
    check_finite(matrix.data, "`codes`")
    if matrix.nnz and matrix.data.min() < 0:
        msg = (
            f"`codes` must not be negative, found {int(np.sum(matrix.data < 0))} such values; "
            "take the two ends of a dimension as two features."
        )
        raise ValueError(msg)
    matrix.eliminate_zeros()
    return matrix


def as_labels(labels: Any, n: int) -> tuple[IntArray, int]:
    """Number of the label of each of `n` cells, and how many there are, or an error."""
    values = pd.Series(np.asarray(labels, dtype=object))
    if len(values) != n:
        msg = f"`labels` must have one entry per row of `codes` ({n}), found {len(values)}."
        raise ValueError(msg)
    if values.isna().any():
        msg = f"`labels` is missing for {int(values.isna().sum())} rows."
        raise ValueError(msg)
    numbers, names = pd.factorize(values)
    return numbers.astype(np.int64), len(names)


def same_rows(codes: sparse.csr_matrix, embedding: FloatArray) -> None:
    """Raise unless both are about the same cells."""
    if codes.shape[0] != len(embedding):
        msg = f"`codes` and `embedding` must have the same rows, found {codes.shape[0]} and {len(embedding)}."
        raise ValueError(msg)
