"""A column of `.obs` as numbers or labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from saescape._typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Phenotype:
    """Values of each row: float64 numbers, or codes of `n_labels` labels (0 for numbers); `known` where not missing."""

    name: str
    values: np.ndarray
    known: BoolArray
    n_labels: int


def as_phenotype(name: str, column: pd.Series) -> Phenotype:
    """Numbers stay numbers; categories, strings and booleans are labels.

    Raises
    ------
    TypeError
        For values that are neither, such as dates or a mixture of strings and numbers.
    ValueError
        For infinite values, a phenotype without variance, and labels that are all different.
    """
    where = f"`obs_keys`: `adata.obs[{name!r}]`"
    known = column.notna().to_numpy()
    if column.dtype == object:
        kind = pd.api.types.infer_dtype(column, skipna=True)
        if kind in {"integer", "floating", "mixed-integer-float"}:
            column = column.astype(float)
        elif kind not in {"string", "boolean", "empty"}:
            msg = f"{where} must hold numbers or labels, found {kind} values; convert it first."
            raise TypeError(msg)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        if pd.api.types.is_complex_dtype(column.dtype):
            msg = f"{where} must hold real numbers or labels, found complex numbers."
            raise TypeError(msg)
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        n_infinite = int(np.isinf(values).sum())
        if n_infinite:
            msg = f"{where} has {n_infinite} infinite values; remove them or set them to NaN."
            raise ValueError(msg)
        if not varies(values[known]):
            raise ValueError(_constant(where, known))
        return Phenotype(name, values, known, 0)
    if not (isinstance(column.dtype, pd.CategoricalDtype) or column.dtype.kind in "ObUS" or _texts(column)):
        msg = f"{where} must hold numbers or labels, found dtype {column.dtype}; convert it first."
        raise TypeError(msg)
    labels = np.asarray(column.astype(str), dtype=object)
    names, codes = np.unique(labels[known].astype(str), return_inverse=True)
    if len(names) < 2:
        raise ValueError(_constant(where, known))
    if len(names) == known.sum():
        msg = f"{where} has a different label in each observation; labels have to be shared by several."
        raise ValueError(msg)
    values = np.full(len(column), -1, dtype=np.int64)
    values[known] = codes.ravel()
    return Phenotype(name, values, known, len(names))


def varies(values: FloatArray | IntArray) -> bool:
    """Whether there are two different values."""
    return len(values) > 0 and bool(np.any(values != values[0]))


def _texts(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.StringDtype) or pd.api.types.is_bool_dtype(column.dtype)


def _constant(where: str, known: BoolArray) -> str:
    if not known.any():
        return f"{where} is missing for all observations."
    return f"{where} is constant; a phenotype has to vary."
