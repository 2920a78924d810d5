"""What relaxes or supervises `tl.gw_map`: columns that both sides have, and the price of the marginals."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from saescape._logging import logg
from saescape._validate import check_real, require_key, string_list

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from anndata import AnnData

    from saescape._typing import FloatArray
    from saescape.transport._joint import JointCost

_ALPHA = 0.5


def read_alpha(alpha: float | None, joint_obs: str | Sequence[str] | None) -> float:
    """Weight of the structure, 1 without `joint_obs`."""
    if alpha is None:
        return _ALPHA if string_list("joint_obs", joint_obs) else 1.0
    if not string_list("joint_obs", joint_obs):
        msg = f"`alpha={alpha!r}` weighs the structure against the columns in `joint_obs`, and none is given."
        raise ValueError(msg)
    return check_real("alpha", alpha, 0, 1, open_low=False)


def read_penalty(unbalanced: float | Sequence[float | None] | None, method: str) -> tuple[float, float]:
    """Price of the marginals of both sides, infinite where they are fixed."""
    if unbalanced is None:
        return inf, inf
    several = isinstance(unbalanced, list | tuple | np.ndarray)
    sides: list[Any] = list(unbalanced) if several else [unbalanced] * 2  # type: ignore[arg-type]
    if len(sides) != 2:
        msg = f"`unbalanced` must be one number or two (for `adata` and `adata_ref`), found {len(sides)}."
        raise ValueError(msg)
    # fixed sides are None or inf
    fixed = [side is None or (isinstance(side, float | np.floating) and side == inf) for side in sides]
    penalty = [inf if f else check_real("unbalanced", side) for f, side in zip(fixed, sides, strict=True)]
    if method == "pot" and not all(fixed):
        msg = "`unbalanced` is for `method='auto'`; `method='pot'` keeps the marginals."
        raise ValueError(msg)
    return penalty[0], penalty[1]


def read_joint(adata: AnnData, adata_ref: AnnData, joint_obs: str | Sequence[str] | None) -> JointCost | None:
    """Cost of pairs of cells from the columns that both sides have; None if none is named.

    Raises
    ------
    KeyError
        If a side lacks a column.
    TypeError
        If a column is numeric on one side only.
    ValueError
        If a column says nothing: without shared labels, without variation or without values.
    """
    from saescape.transport._joint import joint_cost

    columns = string_list("joint_obs", joint_obs)
    return joint_cost([_read_pair(adata, adata_ref, column) for column in columns]) if columns else None


def describe_joint(columns: list[str], alpha: float, penalty: tuple[float, float]) -> None:
    """Say in the log that labels are used, and that marginals are relaxed."""
    if columns:
        logg.info(f"    weakly supervised by {columns} (`alpha={alpha:g}`): these columns are no independent check")
    if np.isfinite(penalty).any():
        logg.info(f"    marginals are relaxed (price {penalty[0]:g} for `adata`, {penalty[1]:g} for `adata_ref`)")


def _read_pair(adata: AnnData, adata_ref: AnnData, column: str) -> tuple[FloatArray, FloatArray]:
    """Values of one column on both sides, numbers or one-hot labels."""
    sides = {"adata": adata, "adata_ref": adata_ref}
    lacking = [name for name, side in sides.items() if column not in list(side.obs.columns)]
    if lacking:
        shared = [str(c) for c in adata.obs.columns if c in list(adata_ref.obs.columns)]
        where = " and ".join(f"`{name}.obs`" for name in lacking)
        msg = f"`joint_obs={column!r}`: not found in {where}. Columns of both sides: {shared}."
        raise KeyError(msg)
    values = [require_key(side, "obs", column, argument="joint_obs", adata_name=name) for name, side in sides.items()]
    kinds = [is_numeric_dtype(v.dtype) and not is_bool_dtype(v.dtype) for v in values]
    if kinds[0] != kinds[1]:
        dtypes = f"{values[0].dtype} in `adata` and {values[1].dtype} in `adata_ref`"
        msg = f"`joint_obs={column!r}`: the column is {dtypes}; make both numbers or both labels (categories or text)."
        raise TypeError(msg)
    return _numbers(column, values) if kinds[0] else _labels(column, values)


def _numbers(column: str, values: list[pd.Series]) -> tuple[FloatArray, FloatArray]:
    x, y = (v.to_numpy(dtype=np.float64, na_value=np.nan) for v in values)
    for name, side in (("adata", x), ("adata_ref", y)):
        if not np.isfinite(side).any():
            msg = f"`joint_obs={column!r}`: `{name}.obs[{column!r}]` has no finite value."
            raise ValueError(msg)
    known = np.concatenate([x[np.isfinite(x)], y[np.isfinite(y)]])
    if not known.std() > 1e-9 * max(1e-30, float(np.abs(known).max())):
        msg = f"`joint_obs={column!r}`: the column is constant over both sides and says nothing; leave it out."
        raise ValueError(msg)
    return x, y


def _labels(column: str, values: list[pd.Series]) -> tuple[FloatArray, FloatArray]:
    texts = [v.astype(bool if is_bool_dtype(v.dtype) and not v.isna().any() else object) for v in values]
    found = [pd.Index(np.asarray(t.dropna().astype(str).unique(), dtype=object)).sort_values() for t in texts]
    shared = found[0].intersection(found[1])
    if len(shared) == 0:
        listed = " and ".join(
            f"`{name}` has {list(labels[:8])}" for name, labels in zip(("adata", "adata_ref"), found, strict=True)
        )
        msg = f"`joint_obs={column!r}`: no label is on both sides; {listed}."
        raise ValueError(msg)
    if len(shared) == 1:
        # a single shared label cannot tell any pair from another
        msg = (
            f"`joint_obs={column!r}`: {shared[0]!r} is the only label on both sides and says nothing; it takes at least"
            " two."
        )
        raise ValueError(msg)
    x, y = (
        (shared.get_indexer(pd.Index(t.astype(str).where(t.notna(), None)))[:, None] == np.arange(len(shared))).astype(
            np.float32
        )
        for t in texts
    )
    return x, y
