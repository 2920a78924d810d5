from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import validate_data

from saescape._rows import RowSource
from saescape._storage import uniform_container

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

_LAZY_PACKAGES = {"anndata", "dask", "h5py", "zarr"}


def row_source(estimator: BaseEstimator, X: Any, *, reset: bool, min_rows: int | None = None) -> RowSource:
    """Rows of anything a user may pass to an estimator, with scikit-learn's checks for what is in memory.

    Parameters
    ----------
    estimator
        Takes note of the columns, or is asked for them.
    X
        Rows.
    reset
        Whether the columns are new.
    min_rows
        Fewer are an error; None for the number that a fit needs.
    """
    from saescape.sae._defaults import MIN_ROWS

    min_rows = MIN_ROWS if min_rows is None else min_rows
    if isinstance(X, np.ma.MaskedArray):
        X = uniform_container(X, "`X`")
    if type(X).__module__.partition(".")[0] not in _LAZY_PACKAGES:
        # values are checked while the moments are computed, which says where the first bad one is
        X = validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=(np.float32, np.float64),
            ensure_min_samples=min_rows,
            ensure_all_finite=False,
        )
        return RowSource(X, where="`X`")
    rows = RowSource(X, where="`X`")
    if len(X.shape) != 2:
        msg = f"`X` must have 2 dimensions, found shape {tuple(X.shape)}."
        raise ValueError(msg)
    if reset:
        estimator.n_features_in_ = rows.n_dims
    elif rows.n_dims != estimator.n_features_in_:
        msg = f"`X` has {rows.n_dims} columns, but the model was fitted with {estimator.n_features_in_}."
        raise ValueError(msg)
    return rows
