"""A column of `.obs` as labels or as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype, is_object_dtype, is_string_dtype

from saescape._validate import require_key

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._typing import FloatArray, IntArray


@dataclass(frozen=True)
class LabelColumn:
    """Codes of the categories `(n_obs,)`, -1 for missing, and their colors if scanpy has stored any."""

    name: str
    dtype: pd.CategoricalDtype
    codes: IntArray
    colors: np.ndarray | None


@dataclass(frozen=True)
class NumberColumn:
    """Float64 values `(n_obs,)`, NaN for missing; booleans are 0 and 1."""

    name: str
    values: FloatArray
    is_bool: bool


def read_column(adata_ref: AnnData, column: str) -> LabelColumn | NumberColumn:
    """Labels for categories and text, numbers for numbers and booleans (nullable ones as well).

    Raises
    ------
    KeyError
        If there is no such column.
    TypeError
        For dates and other types.
    ValueError
        If all values are missing, or some are infinite.
    """
    values = require_key(adata_ref, "obs", column, argument="obs", adata_name="adata_ref")
    where = f"`obs={column!r}`: `adata_ref.obs[{column!r}]`"
    if values.isna().all():
        msg = f"{where} has missing values only."
        raise ValueError(msg)
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype) or is_object_dtype(dtype) or is_string_dtype(dtype):
        if not isinstance(dtype, pd.CategoricalDtype):
            values = values.astype(str).where(values.notna()).astype("category")
        colors = adata_ref.uns.get(f"{column}_colors")
        if colors is not None and len(colors) < len(values.cat.categories):
            # left over from other categories
            colors = None
        return LabelColumn(
            column, values.dtype, np.asarray(values.cat.codes), None if colors is None else np.array(colors, dtype=str)
        )
    if is_complex_dtype(dtype) or not is_numeric_dtype(dtype):
        msg = f"{where} has dtype {dtype}; it must hold categories, text, numbers or booleans."
        raise TypeError(msg)
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(numbers).any():
        msg = f"{where} has {int(np.isinf(numbers).sum())} infinite values; replace them, by NaN if they are missing."
        raise ValueError(msg)
    return NumberColumn(column, numbers, is_bool_dtype(dtype))
