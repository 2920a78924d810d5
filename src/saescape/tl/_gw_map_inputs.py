"""What `tl.gw_map` is given: checked arguments, labels and representations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype

from saescape._rep import get_representation
from saescape._validate import check_choice, require_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from saescape._typing import FloatArray, IntArray

METRICS = ("geodesic", "euclidean", "cosine")
MIN_CELLS = 4
_POT_MAX_CELLS = 3000


@dataclass(frozen=True)
class Labels:
    """Labels of the reference cells; a row of `one_hot` is empty where the label is missing."""

    column: str
    categories: pd.Index
    one_hot: FloatArray


def read_columns(obs: str | Sequence[str] | None) -> list[str]:
    """Names in `obs`, each once."""
    columns = [obs] if isinstance(obs, str) else list(obs or [])
    if len(set(columns)) < len(columns):
        msg = f"`obs` names a column twice: {columns}."
        raise ValueError(msg)
    return columns


def read_metrics(metric: str | Sequence[str] | None, method: str) -> tuple[str, ...]:
    """Known metrics, each once; those of the method if none is given."""
    if metric is None:
        return ("geodesic",) if method == "pot" else ("cosine", "geodesic")
    metrics = (metric,) if isinstance(metric, str) else tuple(metric)
    if not metrics or len(set(metrics)) < len(metrics):
        msg = f"`metric` must name at least one metric and none twice, found {list(metrics)}."
        raise ValueError(msg)
    for name in metrics:
        check_choice("metric", name, METRICS)
    return metrics


def check_method(method: str, metrics: tuple[str, ...], n_landmarks: int | None, n: int, m: int) -> None:
    """Too few cells, or what `method="pot"` cannot do."""
    for name, size in (("adata", n), ("adata_ref", m)):
        if size < MIN_CELLS:
            msg = f"`{name}` must have at least {MIN_CELLS} observations, found {size}."
            raise ValueError(msg)
    if method != "pot":
        return
    if len(metrics) > 1:
        msg = f"`method='pot'` takes one `metric`, found {list(metrics)}."
        raise ValueError(msg)
    if n_landmarks is not None:
        msg = "`n_landmarks` is for `method='auto'`; `method='pot'` always couples all cells."
        raise ValueError(msg)
    if max(n, m) > _POT_MAX_CELLS:
        from saescape.transport._pot import dense_bytes

        gib = dense_bytes(n, m) / 2**30
        msg = (
            f"`method='pot'` holds dense matrices and takes at most {_POT_MAX_CELLS:,} cells on each side, found {n:,} "
            f"and {m:,} (about {gib:.1f} GiB); use `method='auto'` or a subsample."
        )
        raise ValueError(msg)


def read_labels(adata_ref: AnnData, column: str) -> Labels:
    """Column of the reference as categories."""
    values = require_key(adata_ref, "obs", column, argument="obs", adata_name="adata_ref")
    if is_float_dtype(values.dtype):
        msg = (
            f"`obs={column!r}`: `adata_ref.obs[{column!r}]` is continuous; labels must be categories, text or integers."
        )
        raise ValueError(msg)
    categorical = pd.Categorical(values.astype(str).where(values.notna()))
    if len(categorical.categories) == 0:
        msg = f"`obs={column!r}`: `adata_ref.obs[{column!r}]` has no label."
        raise ValueError(msg)
    codes: IntArray = np.asarray(categorical.codes)
    one_hot = (codes[:, None] == np.arange(len(categorical.categories))).astype(np.float32)
    return Labels(column, categorical.categories, one_hot)


def read_rows(adata: AnnData, use_rep: str | None, adata_name: str, argument: str) -> FloatArray:
    """Representation `(n_obs, n_dims)` in memory, neither constant nor three-dimensional."""
    rows = get_representation(adata, use_rep, use_rep_name=argument, adata_name=adata_name).rows
    if rows.n_positions is not None:
        msg = f"{rows.where} must have 2 dimensions, found shape {tuple(rows.data.shape)}; pool the positions first."
        raise ValueError(msg)
    _, variance = rows.moments()
    if not variance.max(initial=0) > 0:
        msg = f"{rows.where} is constant: all distances are zero."
        raise ValueError(msg)
    return rows.read_all()
