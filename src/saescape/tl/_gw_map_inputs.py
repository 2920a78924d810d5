"""What `tl.gw_map` is given: checked arguments, labels and representations."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from saescape._logging import logg
from saescape._memory import check_memory
from saescape._rep import get_representation
from saescape._validate import check_choice
from saescape.coupling._obs_column import LabelColumn, read_column
from saescape.transport._sparse_rows import SparseRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from saescape._rows import RowSource
    from saescape._typing import FloatArray
    from saescape.transport._sparse_rows import Rows

METRICS = ("geodesic", "euclidean", "cosine", "diffusion")
MIN_CELLS = 4
_POT_MAX_CELLS = 3000
# sparse representations that take more as dense float32 stay sparse
_DENSE_BYTES = 2**28
# cells of one side for each of the other that the log speaks of
_MANY_EACH = 10
# bytes of a sparse representation on disk that are read at once
_SPAN_BYTES = 2**26


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
    """Column of the reference as categories (as text, in their order; unused ones left out)."""
    source = read_column(adata_ref, column)
    if not isinstance(source, LabelColumn):
        slot = f"adata_ref.obs[{column!r}]"
        msg = (
            f"`obs={column!r}`: `{slot}` holds numbers or booleans; labels must be categories or text. Names that are "
            f"numbers can be made categories (`{slot} = {slot}.astype('category')`); the means of numbers are carried "
            "over by `sae.tl.gw_transfer`."
        )
        raise ValueError(msg)
    used, codes = np.unique(source.codes[source.codes >= 0], return_inverse=True)
    categories = pd.Index(source.dtype.categories[used].astype(str))
    one_hot = np.zeros((len(source.codes), len(used)), np.float32)
    one_hot[np.flatnonzero(source.codes >= 0), codes] = 1
    return Labels(column, categories, one_hot)


def read_rows(adata: AnnData, use_rep: str | None, adata_name: str, argument: str) -> Rows:
    """Representation `(n_obs, n_dims)` in memory, neither constant nor three-dimensional; large sparse ones stay so."""
    rows = _checked_rows(adata, use_rep, adata_name, argument)
    if not rows.is_sparse or rows.dense_bytes <= _DENSE_BYTES:
        return _dense(rows, argument)
    spans = pairwise(rows.spans(_SPAN_BYTES, _SPAN_BYTES))
    parts = [rows.read(int(start), int(stop), keep_sparse=True) for start, stop in spans]
    return SparseRows(sparse.vstack(parts, format="csr"))


def read_dense_rows(adata: AnnData, use_rep: str | None, adata_name: str, argument: str) -> FloatArray:
    """Representation `(n_obs, n_dims)` in memory as an array."""
    return _dense(_checked_rows(adata, use_rep, adata_name, argument), argument)


def _checked_rows(adata: AnnData, use_rep: str | None, adata_name: str, argument: str) -> RowSource:
    rows = get_representation(adata, use_rep, use_rep_name=argument, adata_name=adata_name).rows
    if rows.n_positions is not None:
        msg = f"{rows.where} must have 2 dimensions, found shape {tuple(rows.data.shape)}; pool the positions first."
        raise ValueError(msg)
    _, variance = rows.moments()
    if not variance.max(initial=0) > 0:
        msg = f"{rows.where} is constant: all distances are zero."
        raise ValueError(msg)
    return rows


def _dense(rows: RowSource, argument: str) -> FloatArray:
    check_memory(rows.n_obs, rows.n_dims, f"{rows.where} in memory", f"set `{argument}` to fewer dimensions")
    return rows.read_all()


def describe(x: Rows, y: Rows, metrics: tuple[str, ...], *, relaxed: bool) -> None:
    """Say in the log what is unusual about the cells and what follows from it."""
    for name, rows in (("adata", x), ("adata_ref", y)):
        n_zero = int(np.sum(~rows.any(axis=1)))
        if n_zero and set(metrics) - {"euclidean"}:
            logg.warning(
                f"{n_zero} of {len(rows)} cells of `{name}` have nothing but zeros in the representation and no "
                "direction: for cosine and geodesic distances they are one and the same cell."
            )
    if relaxed:
        # cells need not have the weight that others would have to add up to
        return
    n, m = len(x), len(y)
    if m > _MANY_EACH * n:
        logg.info(
            f"    each cell of `adata` has the weight of {m / n:.0f} cells of `adata_ref` and is coupled with as many "
            f"or more: a confidence above {np.log(n) / np.log(m):.2f} is not possible"
        )
    if n > _MANY_EACH * m:
        logg.info(f"    each cell of `adata_ref` takes the mass of {n / m:.0f} cells of `adata`")
