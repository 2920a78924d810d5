"""Odd and wrong data: what can be fitted is fitted without NaN, what cannot gives an error before any work."""

from __future__ import annotations

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

import saescape as sae
from saescape.models import SparseAutoencoder

N, D = 60, 6
X = np.random.default_rng(0).normal(3, 1, size=(N, D)).astype(np.float32)
QUICK = {"k": 2, "max_epochs": 2}
NAMES = [f"cell{i}" for i in range(N)]


def _with(row, column, value, dtype=np.float32):
    x = X.astype(dtype)
    x[row, column] = value
    return x


def _anndata(data, slot):
    obs = pd.DataFrame(index=NAMES[: data.shape[0]])
    if slot == "X":
        return ad.AnnData(data, obs=obs)
    adata = ad.AnnData(obs=obs)
    adata.obsm["rep"] = data
    return adata


def _fit(how, data, n_features=16, **settings):
    """Codes and metrics by one of the public functions."""
    settings = QUICK | settings
    if how == "model":
        model = SparseAutoencoder(n_features, **settings).fit(data)
        return model.transform(data), model.metrics_, model.W_dec_
    adata = _anndata(data, how)
    use_rep = None if how == "X" else "rep"
    sae.tl.sae_fit(adata, n_features, use_rep=use_rep, show_progress_bar=False, **settings)
    return adata.obsm["X_sae"], adata.uns["sae"]["metrics"], adata.uns["sae"]["weights"]["W_dec"]


FINE = {
    "constant column": (_with(slice(None), 2, 0.1), {}),
    "constant column, zscore": (_with(slice(None), 2, 0.1), {"standardize": "zscore"}),
    "two constant of three, zscore": (np.pad(X[:, :1], ((0, 0), (0, 2)), constant_values=1), {"standardize": "zscore"}),
    "column below float32, zscore": (
        np.c_[X.astype(np.float64), np.linspace(0, 1e-42, N)],
        {"standardize": "zscore"},
    ),
    "duplicate rows": (np.repeat(X[:6], 10, axis=0), {}),
    "zero rows": (X * (np.arange(N) % 2)[:, None], {}),
    "empty rows": (sparse.csr_matrix(X * (np.arange(N) % 2)[:, None]), {}),
    "fewer rows than a batch": (X, {"batch_size": 512}),
    "ten rows": (X[:10], {}),
    "one dimension": (X[:, :1], {"k": 1}),
    "fewer features than dimensions": (X, {"n_features": 4, "k": 1}),
    "one feature": (X, {"n_features": 1, "k": 1}),
    "more features than rows": (X, {"n_features": 200}),
    "float16": (X.astype(np.float16), {}),
    "float64": (X.astype(np.float64), {}),
    "large": (X * np.float32(1e30), {}),
    "small": (X * np.float32(1e-30), {}),
    "int64": ((5 * X).astype(np.int64), {}),
    "uint8": (np.abs(50 * X).astype(np.uint8), {}),
    "bool": (X > 3, {}),
    "csc": (sparse.csc_matrix(X), {}),
    "csr int": (sparse.csr_matrix((5 * X).astype(np.int16)), {}),
    "not contiguous": (np.repeat(X, 2, axis=1)[:, ::2], {}),
    "frame": (pd.DataFrame(X, index=NAMES, columns=list("abcdef")), {}),
}


@pytest.mark.filterwarnings("ignore::saescape._warnings.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
@pytest.mark.parametrize("how", ["X", "obsm", "model"])
@pytest.mark.parametrize("name", FINE)
def test_odd_data_are_fitted(name, how):
    data, settings = FINE[name]
    codes, metrics, directions = _fit(how, data, **settings)
    assert codes.shape[0] == data.shape[0]
    assert codes.nnz > 0
    assert np.isfinite(codes.data).all()
    assert np.isfinite(directions).all()
    assert all(np.isfinite(metrics[key]) for key in ("fvu", "fvu_train", "l0"))


@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
@pytest.mark.parametrize("how", ["X", "obsm", "model"])
@pytest.mark.parametrize("name", ["float64", "csc", "frame", "not contiguous"])
def test_containers_do_not_matter(name, how):
    codes, _, directions = _fit(how, FINE[name][0])
    reference, _, expected = _fit("obsm", X)
    np.testing.assert_array_equal(directions, expected)
    assert abs(codes - reference).nnz == 0


def _lazy(data):
    return da.from_array(data, chunks=(10, -1))


NON_FINITE = r"1 non-finite values, the first at position \(33, 2\); remove or impute NaN"
OVERFLOW = r"values that overflow float32 \(above 3.4e\+38\), the first in row 33"
WRONG = {
    "NaN": (_with(33, 2, np.nan), ValueError, NON_FINITE),
    "inf": (_with(33, 2, -np.inf), ValueError, NON_FINITE),
    "inf in float64": (_with(33, 2, np.inf, np.float64), ValueError, NON_FINITE),
    "NaN in csr": (sparse.csr_matrix(_with(33, 2, np.nan)), ValueError, NON_FINITE),
    "NaN in a frame": (pd.DataFrame(_with(33, 2, np.nan), index=NAMES), ValueError, NON_FINITE),
    "NaN in one chunk": (_lazy(_with(33, 2, np.nan)), ValueError, NON_FINITE),
    "NaN in one sparse chunk": (_lazy(_with(33, 2, np.nan)).map_blocks(sparse.csr_matrix), ValueError, NON_FINITE),
    "several": (_with([20, 33], [5, 2], np.nan), ValueError, r"2 non-finite values, the first at position \(20, 5\)"),
    "overflow": (_with(33, 2, 1e300, np.float64), ValueError, OVERFLOW),
    "overflow in one chunk": (_lazy(_with(33, 2, -1e39, np.float64)), ValueError, OVERFLOW),
    "overflow in csr": (sparse.csr_matrix(_with(33, 2, 1e39, np.float64)), ValueError, OVERFLOW),
    "underflow": (X.astype(np.float64) * 1e-42, ValueError, "no variance"),
    "all rows equal": (np.full((N, D), 0.1), ValueError, "no variance"),
    "all zero": (sparse.csr_matrix((N, D)), ValueError, "no variance"),
    "nine rows": (X[:9], ValueError, "At least 10 rows are needed.*n_samples = 9"),
    "complex": (X.astype(complex), TypeError, "real numbers, found dtype complex128"),
    "object": (X.astype(object), TypeError, "real numbers, found dtype object"),
    "text": (X.astype(str), TypeError, "real numbers, found dtype <U32"),
    "masked": (np.ma.masked_array(X, mask=X > 5.5), ValueError, r"masked values, the first at position \(\d+, \d\)"),
}
# scikit-learn decides what an array is, and in its own words
OTHER_WORDS = {
    "nine rows": (ValueError, "minimum of 10 is required"),
    "complex": (ValueError, "Complex data not supported"),
    "object": None,
    "text": None,
}


@pytest.mark.parametrize("how", ["X", "obsm"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_data_are_refused_and_nothing_is_written(name, how):
    data, error, match = WRONG[name]
    adata = _anndata(data, how)
    before = (list(adata.obsm), list(adata.varm), list(adata.uns), list(adata.obs))
    with pytest.raises(error, match=match):
        sae.tl.sae_fit(adata, 16, use_rep=None if how == "X" else "rep", show_progress_bar=False, **QUICK)
    assert (list(adata.obsm), list(adata.varm), list(adata.uns), list(adata.obs)) == before


@pytest.mark.parametrize("name", [name for name in WRONG if OTHER_WORDS.get(name, "same") is not None])
def test_wrong_data_are_refused_by_the_estimator(name):
    data, error, match = WRONG[name]
    error, match = OTHER_WORDS.get(name, (error, match))
    model = SparseAutoencoder(16, **QUICK)
    with pytest.raises(error, match=match):
        model.fit(data)
    assert not hasattr(model, "W_dec_")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"n_features": 4, "k": 5}, r"`k` must be between 1 and `n_features` \(4\), found 5"),
        ({"n_features": 0}, "`n_features` must be at least 1, found 0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
    ],
)
@pytest.mark.parametrize("how", ["X", "obsm", "model"])
def test_wrong_settings(settings, match, how):
    with pytest.raises(ValueError, match=match):
        _fit(how, X, **settings)


@pytest.mark.parametrize(
    ("shape", "match"),
    [((N, 0), r"no values in its rows: found shape \(60, 0\)"), ((N, 1, 2, 3), "2 or 3 dimensions, found shape")],
)
def test_wrong_shapes_in_obsm(shape, match):
    adata = _anndata(np.zeros(shape), "obsm")
    with pytest.raises(ValueError, match=match):
        sae.tl.sae_fit(adata, 16, use_rep="rep", show_progress_bar=False)


@pytest.mark.parametrize("data", [X[:, 0], X.reshape(10, 1, 6, 6), X.reshape(10, 6, 6), X[:, :0]])
def test_wrong_shapes_for_the_estimator(data):
    with pytest.raises(ValueError, match=r"Expected 2D array|Found array with"):
        SparseAutoencoder().fit(data)


@pytest.mark.parametrize("kind", ["h5ad", "zarr lazy", "h5py", "zarr"])
def test_one_nan_on_disk(kind, tmp_path):
    bad = _with(33, 2, np.nan)
    if kind == "h5ad":
        _anndata(bad, "X").write_h5ad(tmp_path / "x.h5ad")
        adata = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    elif kind == "zarr lazy":
        _anndata(bad, "X").write_zarr(tmp_path / "x.zarr")
        adata = ad.experimental.read_lazy(tmp_path / "x.zarr")
    elif kind == "h5py":
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["x"] = bad
        adata = h5py.File(tmp_path / "x.h5")["x"]
    else:
        adata = zarr.array(bad, chunks=(10, 6))
    if not isinstance(adata, ad.AnnData):
        with pytest.raises(ValueError, match=NON_FINITE):
            SparseAutoencoder(16, **QUICK).fit(adata)
        return
    with pytest.raises(ValueError, match=NON_FINITE):
        sae.tl.sae_fit(adata, 16, show_progress_bar=False, **QUICK)
    assert "sae" not in adata.uns
    assert "X_sae" not in adata.obsm
