from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

import saescape as sae


def with_codes(active, **obs):
    """Slots of a fit, written by hand."""
    rng = np.random.default_rng(0)
    m = active.shape[1]
    adata = ad.AnnData(np.zeros((len(active), 2), np.float32))
    adata.obsm["X_sae"] = sparse.csr_matrix(active * rng.uniform(0.5, 1, active.shape), dtype=np.float32)
    names = [f"sae_{i}" for i in range(m)]
    adata.uns["sae"] = {"weights": {"W_dec": np.ones((m, 2), np.float32)}, "features": pd.DataFrame(index=names)}
    for name, values in obs.items():
        adata.obs[name] = pd.Categorical(values.astype(str))
    return adata


def planted(n=6_000, size=8, seed=0):
    """Three modules within five cell types that differ in how often features are active, and single features."""
    rng = np.random.default_rng(seed)
    cell_type, donor = rng.integers(0, 5, n), rng.integers(0, 4, n)
    event = rng.random((n, 3)) < 0.06
    modules = [event[:, [i]] & (rng.random((n, size)) < 0.7) for i in range(3)]
    rate = np.where(rng.random((5, 10)) < 0.3, 0.3, 0.01)
    active = np.concatenate([*modules, rng.random((n, 10)) < rate[cell_type]], 1)
    return with_codes(active, cell_type=cell_type, donor=donor), np.repeat([0, 1, 2], size)


def test_planted_modules_are_found():
    adata, truth = planted()
    sae.tl.feature_modules(adata, groupby="cell_type", batch_key="donor")
    module = adata.uns["sae"]["features"]["module"]
    assert adjusted_rand_score(truth, module.iloc[:24]) > 0.9
    assert (module.iloc[24:] == "").all()
    result = adata.uns["feature_modules"]
    table = result["modules"]
    assert table["n_features"].tolist() == [8, 8, 8]
    assert (table["density"] > 0.9).all()
    assert (table["mean_pmi"] > 3).all()
    assert set(table.loc["0", "top_features"].split(",")) == set(module.index[module == "0"])
    assert result["graph"].shape == (34, 34)
    assert result["graph"].dtype == np.float32
    assert result["n_pairs"]["possible"] == 34 * 33 // 2
    assert 0 <= result["n_pairs"]["linked"] - table["n_pairs"].sum() <= 5


def test_cell_types_alone_make_no_module():
    rng = np.random.default_rng(1)
    cell_type = rng.integers(0, 5, 6_000)
    rate = np.where(rng.random((5, 40)) < 0.3, 0.2, 0.005)
    adata = with_codes(rng.random((6_000, 40)) < rate[cell_type], cell_type=cell_type)
    sae.tl.feature_modules(adata)
    assert len(adata.uns["feature_modules"]["modules"]) > 1
    sae.tl.feature_modules(adata, groupby="cell_type")
    assert len(adata.uns["feature_modules"]["modules"]) == 0
    assert adata.uns["feature_modules"]["n_pairs"]["linked"] == 0
    assert (adata.uns["sae"]["features"]["module"] == "").all()


def test_links_of_one_batch_do_not_count():
    rng = np.random.default_rng(0)
    batch = np.repeat(np.arange(6), 1_000)
    event = (rng.random(6_000) < 0.1) & (batch == 0)
    active = (event[:, None] & (rng.random((6_000, 5)) < 0.9)) | (rng.random((6_000, 5)) < 0.03)
    # in the other batches they avoid each other a little, as features of a sparse code do
    crowded = (active.sum(1) > 1) & (batch > 0)
    active[crowded] = False
    adata = with_codes(active, batch=batch)
    sae.tl.feature_modules(adata)
    assert len(adata.uns["feature_modules"]["modules"]) == 1
    sae.tl.feature_modules(adata, batch_key="batch")
    assert len(adata.uns["feature_modules"]["modules"]) == 0


def test_gated_features_get_their_parent():
    rng = np.random.default_rng(0)
    n = 5_000
    parent = rng.random(n) < 0.3
    child = parent & (rng.random(n) < 0.3)
    adata = with_codes(np.column_stack([child, parent, rng.random((n, 6)) < 0.1]))
    sae.tl.feature_modules(adata)
    features, table = adata.uns["sae"]["features"], adata.uns["feature_modules"]["hierarchy"]
    assert features["parent"].tolist() == ["sae_1"] + [""] * 7
    assert table[["child", "parent", "n_child", "n_parent"]].to_numpy().tolist() == [
        ["sae_0", "sae_1", child.sum(), parent.sum()]
    ]
    assert table.loc["0", "share_of_child"] == 1
    assert table.loc["0", "share_of_parent"] == pytest.approx(child.sum() / parent.sum())


def test_round_trip_determinism_and_copy(tmp_path, global_state):
    adata, _ = planted(2_000)
    copied = sae.tl.feature_modules(adata, key_added="ours", copy=True)
    assert "ours" not in adata.uns
    sae.tl.feature_modules(adata)
    assert adata.uns["sae"]["features"].equals(copied.uns["sae"]["features"])
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    for read in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        assert (read.uns["feature_modules"]["graph"] != adata.uns["feature_modules"]["graph"]).nnz == 0
        sae.tl.feature_modules(read, groupby="cell_type")


def test_dead_features_and_odd_names():
    adata, _ = planted(1_000)
    adata.uns["sae"]["features"].index = ["a,b", "<b>", *(f"ü {i}" for i in range(32))]
    codes = adata.obsm["X_sae"].toarray()
    codes[:, 3] = 0
    adata.obsm["X_sae"] = sparse.csr_matrix(codes)
    sae.tl.feature_modules(adata)
    assert len(adata.uns["sae"]["features"]) == 34
    assert adata.uns["sae"]["features"]["module"].iloc[3] == ""


def test_bad_input_changes_nothing():
    adata, _ = planted(300)
    for arguments, error, message in (
        ({"groupby": "none"}, KeyError, "`groupby='none'`"),
        ({"threshold": 1.0}, ValueError, "`threshold` must be at least 0"),
        ({"min_count": 0}, ValueError, "`min_count` must be at least 1"),
        ({"min_lift": 0.5}, ValueError, "`min_lift` must be at least 1"),
        ({"min_size": 1}, ValueError, "`min_size` must be at least 2"),
        ({"key_added": "sae"}, ValueError, "would overwrite"),
        ({"key": "none"}, KeyError, "`key='none'`"),
    ):
        with pytest.raises(error, match=message):
            sae.tl.feature_modules(adata, **arguments)
    adata.obs.loc[adata.obs_names[:2], "donor"] = np.nan
    with pytest.raises(ValueError, match="`batch_key='donor'` is missing for 2 observations"):
        sae.tl.feature_modules(adata, batch_key="donor")
    assert list(adata.uns) == ["sae"]
    assert "module" not in adata.uns["sae"]["features"]
