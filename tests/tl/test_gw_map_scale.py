from __future__ import annotations

import tracemalloc

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

import saescape as sae
from saescape import _memory
from saescape.tl import _gw_map_inputs
from saescape.tl._gw_map_inputs import read_rows
from saescape.transport._peak import peak_bytes
from saescape.transport._sparse_rows import SparseRows

from .test_gw_map import assert_equal
from .test_gw_map import gw_map as map_quietly

FAST = {"n_starts": 2, "n_nulls": 0}


@pytest.fixture
def pair():
    adata, adata_ref = sae.datasets.paired(60, 50, n_genes=240, rng=4)
    # image embeddings have both signs: their positive and negative parts are sparse codes
    x = adata.obsm["X_image"]
    adata.obsm["X_sae"] = sparse.csr_matrix(np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], 1))
    return adata, adata_ref


@pytest.fixture
def kept_sparse(monkeypatch):
    monkeypatch.setattr(_gw_map_inputs, "_DENSE_BYTES", 0)


def wide_codes(n, d=8192, n_active=8):
    rng = np.random.default_rng(0)
    columns = (rng.integers(4, size=(n, 1)) * (d // 4) + rng.integers(d // 4, size=(n, n_active))) % d
    values = rng.gamma(2.0, size=n * n_active).astype(np.float32)
    return sparse.csr_matrix((values, (np.repeat(np.arange(n), n_active), columns.ravel())), (n, d))


@pytest.mark.parametrize(
    ("kind", "metric"), [("csr", None), ("csr", "diffusion"), ("csc", "euclidean"), ("backed", None)]
)
def test_codes_kept_sparse_give_the_same_map(pair, kept_sparse, tmp_path, kind, metric):
    adata, adata_ref = pair
    dense = adata.copy()
    dense.obsm["X_sae"] = adata.obsm["X_sae"].toarray()
    if kind == "csc":
        adata.obsm["X_sae"] = adata.obsm["X_sae"].tocsc()
    if kind == "backed":
        adata.write_h5ad(tmp_path / "a.h5ad")
        adata = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    assert isinstance(read_rows(adata, "X_sae", "adata", "use_rep"), SparseRows)
    for side in (adata, dense):
        map_quietly(side, adata_ref, use_rep="X_sae", metric=metric, n_nulls=1, n_starts=2)
    # of a total of one
    assert np.abs(adata.obsm["gw_coupling"] - dense.obsm["gw_coupling"]).sum() < 0.01
    np.testing.assert_allclose(adata.uns["gw_map"]["gw_loss"], dense.uns["gw_map"]["gw_loss"], atol=2e-3)


def test_the_dense_solver_takes_them(pair, kept_sparse):
    adata, adata_ref = pair
    map_quietly(adata, adata_ref, use_rep="X_sae", method="pot", **FAST)
    assert adata.obsm["gw_coupling"].shape == (60, 50)


def test_expression_kept_sparse(pair, kept_sparse):
    adata, adata_ref = pair
    map_quietly(adata_ref, adata, use_rep=None, use_rep_ref="X_sae", **FAST)
    # what is carried over from a sparse reference is dense
    assert adata_ref.obsm["X_gw"].shape == (50, 32)
    assert isinstance(adata_ref.obsm["X_gw"], np.ndarray)


def test_wide_codes_are_not_dense_as_a_whole(pair, monkeypatch):
    monkeypatch.setattr(_gw_map_inputs, "_DENSE_BYTES", 2**26)
    adata = ad.AnnData(obsm={"X_sae": wide_codes(8000)})
    tracemalloc.start()
    map_quietly(adata, pair[1], use_rep="X_sae", metric="cosine", n_landmarks=50, **FAST)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # dense: 250 MiB, and once more as rows of unit length
    assert peak < 200 * 2**20
    assert adata.obsm["gw_coupling"].shape == (8000, 50)


def test_memory_of_the_map_is_estimated(pair, monkeypatch):
    adata, adata_ref = pair
    before = adata.copy()
    x, y = adata.obsm["X_image"], adata_ref.obsm["X_pca"]
    needed = peak_bytes(x, y, y.shape[1])
    monkeypatch.setattr(_memory, "available_memory", lambda: needed - 1)
    with pytest.raises(
        MemoryError, match=r"mapping 60 cells on 50 \(20 dimensions.*GiB are available; map a subsample"
    ):
        map_quietly(adata, adata_ref, use_rep="X_image", **FAST)
    assert_equal(adata, before)
    monkeypatch.setattr(_memory, "available_memory", lambda: needed)
    map_quietly(adata, adata_ref, use_rep="X_image", **FAST)
    assert adata.obsm["gw_coupling"].shape == (60, 50)


@pytest.mark.parametrize(("n", "at_most"), [(1000, 2**27), (5000, 2**30), (100_000, 3 * 2**30), (10**6, 10 * 2**30)])
def test_estimates_do_not_grow_with_pairs_of_cells(n, at_most):
    rows = np.broadcast_to(np.float32(0), (n, 30))
    assert at_most / 30 < peak_bytes(rows, rows, 40) < at_most


def test_log_says_what_is_done_with_many_cells(logged):
    from saescape.tl._gw_map_scale import describe_scale

    describe_scale(5000, 5000, None, "auto")
    describe_scale(6000, 6000, None, "pot")
    assert not logged
    describe_scale(100_000, 20_000, 300, "auto")
    assert "a coupling of 300 points" in logged[0]
    assert "at most 200 for each cell" in logged[0]
