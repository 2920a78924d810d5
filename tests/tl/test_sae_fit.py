from __future__ import annotations

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from anndata import ImplicitModificationWarning
from scipy import sparse

import saescape as sae
from saescape._warnings import ConvergenceWarning, SignificanceWarning

QUICK = {"k": 2, "max_epochs": 20, "show_progress_bar": False}
SLOTS = {"weights", "params", "features", "history", "metrics", "input_names", "format", "inputs"}


def _snapshot(adata):
    return {name: sorted(getattr(adata, name)) for name in ("obsm", "varm", "uns", "obs", "layers", "obsp")}


def test_slots(small, global_state):
    assert sae.tl.sae_fit(small, 32, **QUICK) is None
    codes, entry = small.obsm["X_sae"], small.uns["sae"]
    assert type(codes) is sparse.csr_matrix
    assert codes.dtype == np.float32
    assert codes.shape == (300, 32)
    assert codes.has_sorted_indices
    assert codes.data.min() > 0
    assert set(entry) == SLOTS
    assert set(entry["weights"]) == {"W_enc", "W_dec", "b_enc", "b_dec"}
    assert all(array.dtype == np.float32 for array in entry["weights"].values())
    np.testing.assert_allclose(np.linalg.norm(entry["weights"]["W_dec"], axis=1), 1, atol=1e-5)
    assert entry["input_names"].tolist() == small.var_names.tolist()
    assert entry["features"].index[3] == "sae_3"
    np.testing.assert_allclose(entry["features"]["frac_active"], (codes > 0).mean(0).A1, atol=1e-6)
    np.testing.assert_array_equal(small.varm["sae_decoder"], entry["weights"]["W_dec"].T)
    assert {"fvu", "l0", "n_dead", "n_features"} <= set(entry["metrics"])
    assert entry["params"]["n_features"] == 32
    assert entry["params"]["use_rep"] is None
    assert entry["metrics"]["l0"] == pytest.approx(codes.nnz / 300)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_round_trip_gives_the_same_codes(suffix, architecture, small, tmp_path):
    sae.tl.sae_fit(small, 32, use_rep="X_rep", architecture=architecture, batch_key="plate", mask_var=None, **QUICK)
    path = tmp_path / f"a.{suffix}"
    (small.write_h5ad if suffix == "h5ad" else small.write_zarr)(path)
    back = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    assert back.uns["sae"]["params"]["use_rep"] == "X_rep"
    assert back.uns["sae"]["params"]["layer"] is None
    again = sae.get.sae(back).transform(back.obsm["X_rep"])
    assert abs(again - small.obsm["X_sae"]).nnz == 0
    pd.testing.assert_frame_equal(back.uns["sae"]["features"], small.uns["sae"]["features"])
    pd.testing.assert_frame_equal(back.uns["sae"]["history"], small.uns["sae"]["history"])


def test_every_container_gives_the_same_result(small, tmp_path):
    x = small.X
    reference = sae.tl.sae_fit(small, 32, copy=True, **QUICK)
    frames = {
        "csr": sparse.csr_matrix(x),
        "csc": sparse.csc_matrix(x),
        "dask": da.from_array(x, chunks=(80, -1)),
        "dask csr": da.from_array(x, chunks=(80, -1)).map_blocks(sparse.csr_matrix),
        "float64": x.astype(np.float64),
    }
    results = {}
    for name, container in frames.items():
        other = ad.AnnData(container, obs=small.obs.copy(), var=small.var.copy())
        sae.tl.sae_fit(other, 32, **QUICK)
        results[name] = other
    for name, container in {"backed dense": x, "backed csr": sparse.csr_matrix(x)}.items():
        path = tmp_path / f"{name}.h5ad"
        ad.AnnData(container, obs=small.obs.copy(), var=small.var.copy()).write_h5ad(path)
        other = ad.read_h5ad(path, backed="r")
        sae.tl.sae_fit(other, 32, **QUICK)
        results[name] = other
    for name, other in results.items():
        for tensor, array in reference.uns["sae"]["weights"].items():
            np.testing.assert_array_equal(other.uns["sae"]["weights"][tensor], array, err_msg=name)
        assert abs(other.obsm["X_sae"] - reference.obsm["X_sae"]).nnz == 0, name


def test_seeds(small):
    first, again, other = (sae.tl.sae_fit(small, 32, rng=seed, copy=True, **QUICK) for seed in (0, 0, 1))
    assert abs(first.obsm["X_sae"] - again.obsm["X_sae"]).nnz == 0
    assert abs(first.obsm["X_sae"] - other.obsm["X_sae"]).nnz > 0


def test_copy_and_rerun(small):
    before = _snapshot(small)
    result = sae.tl.sae_fit(small, 32, copy=True, **QUICK)
    assert _snapshot(small) == before
    assert "X_sae" in result.obsm
    result.uns["sae"]["stale"] = 1
    sae.tl.sae_fit(result, 24, use_rep="X_rep", **QUICK)
    assert "stale" not in result.uns["sae"]
    assert result.obsm["X_sae"].shape == (300, 24)
    # of the first run, on other dimensions
    assert "sae_decoder" not in result.varm


def test_key_added_is_used_verbatim(small):
    sae.tl.sae_fit(small, 32, key_added="mine", **QUICK)
    assert "mine" in small.obsm
    assert "mine" in small.uns
    assert "mine" in small.varm
    assert "X_sae" not in small.obsm
    assert sae.get.sae(small, key="mine").W_dec_.shape == (32, 20)


def test_view_becomes_actual_and_parent_stays(small):
    before = _snapshot(small)
    view = small[:200]
    with pytest.warns(ImplicitModificationWarning):
        sae.tl.sae_fit(view, 40, **QUICK)
    assert view.obsm["X_sae"].shape == (200, 40)
    assert _snapshot(small) == before


def test_mask_var_and_layer(small):
    small.var["use"] = np.arange(20) % 2 == 0
    sae.tl.sae_fit(small, 32, mask_var="use", **QUICK)
    loadings = small.varm["sae_decoder"].copy()
    np.testing.assert_array_equal(loadings[1::2], 0)
    assert np.abs(loadings[::2]).sum() > 0
    assert small.uns["sae"]["weights"]["W_enc"].shape == (10, 32)
    assert small.uns["sae"]["input_names"].tolist() == small.var_names[::2].tolist()
    sae.tl.sae_fit(small, 32, mask_var=small.var["use"].to_numpy(), layer="csr", **QUICK)
    np.testing.assert_array_equal(small.varm["sae_decoder"], loadings)


def test_loadings_of_genes_through_principal_components(pbmc):
    sae.tl.sae_fit(pbmc, 64, use_rep="X_pca", max_epochs=5, show_progress_bar=False)
    expected = pbmc.varm["PCs"] @ pbmc.uns["sae"]["weights"]["W_dec"].T
    np.testing.assert_allclose(pbmc.varm["sae_decoder"], expected, atol=1e-5)
    assert pbmc.varm["sae_decoder"].dtype == np.float32


def test_real_data_are_learned_in_seconds(pbmc):
    sae.tl.sae_fit(pbmc, use_rep="X_pca", show_progress_bar=False)
    metrics = pbmc.uns["sae"]["metrics"]
    assert metrics["fvu_train"] < metrics["fvu"] < 0.5
    assert pbmc.uns["sae"]["params"]["n_features"] == 70
    purity = sae.tl.sae_fit(pbmc, use_rep="X_pca", standardize="zscore", show_progress_bar=False, copy=True)
    assert not np.allclose(np.linalg.norm(purity.uns["sae"]["weights"]["W_dec"], axis=1), 1, atol=1e-3)


def test_explained_variance_of_each_input_is_that_of_the_rows_held_out(small):
    small.obs["plate"] = np.repeat(["a", "b", "c", "d", "e"], 60)
    small.obsm["X_rep"] = small.obsm["X_rep"].copy()
    small.obsm["X_rep"][:, 2] = 7.0
    sae.tl.sae_fit(small, 32, use_rep="X_rep", batch_key="plate", **QUICK)
    entry = small.uns["sae"]
    held_out = small.obs["plate"].isin(entry["groups"].index[entry["groups"]["held_out"]]).to_numpy()
    x = small.obsm["X_rep"][held_out].astype(np.float64)
    error = x - sae.get.sae(small).inverse_transform(small.obsm["X_sae"][held_out])
    inputs = entry["inputs"]
    assert inputs.index.tolist() == entry["input_names"].tolist()
    np.testing.assert_allclose(inputs["variance"], x.var(0), rtol=1e-4, atol=1e-6)
    varies = np.arange(x.shape[1]) != 2
    # the variance is that of the group, of which there is one
    expected = 1 - np.square(error).sum(0)[varies] / (len(x) * x.var(0)[varies])
    np.testing.assert_allclose(inputs["explained_variance"][varies], expected, rtol=1e-3, atol=1e-4)
    assert np.isnan(inputs["explained_variance"].iloc[2]) or inputs["variance"].iloc[2] < 1e-6
    assert entry["metrics"]["dead_share"] == entry["metrics"]["n_dead"] / 32


def test_tokens_are_decoded_one_by_one(small):
    small.uns["image_to_adata"] = {}
    sae.tl.sae_fit(small, 64, use_rep="tokens", **QUICK)
    model = sae.get.sae(small)
    alone = model.transform(small.obsm["tokens"].reshape(-1, 20)).toarray().reshape(300, 4, 64)
    np.testing.assert_allclose(small.obsm["X_sae"].toarray(), alone.mean(1), atol=1e-5)
    # the dimensions of image tokens are the variables
    assert small.uns["sae"]["input_names"].tolist() == small.var_names.tolist()
    assert small.varm["sae_decoder"].shape == (20, 64)


def test_l0_target_is_k(small):
    sae.tl.sae_fit(small, 32, l0_target=2, architecture="batchtopk", max_epochs=20, show_progress_bar=False)
    assert small.uns["sae"]["params"]["k"] == 2
    assert small.uns["sae"]["metrics"]["l0"] == pytest.approx(2, rel=0.1)
    with pytest.raises(ValueError, match="`k` .3. and `l0_target` .2. both set"):
        sae.tl.sae_fit(small, 32, l0_target=2, k=3)


def test_whole_groups_are_held_out(small, tmp_path):
    sae.tl.sae_fit(small, 32, batch_key="plate", **QUICK)
    groups = small.uns["sae"]["groups"]
    assert groups.index.tolist() == ["p0", "p1", "p2"]
    assert groups["held_out"].sum() == 1
    assert groups["n_obs"].tolist() == [100, 100, 100]
    assert small.uns["sae"]["metrics"]["n_held_out"] == 100
    assert small.uns["sae"]["metrics"]["fvu"] == pytest.approx(groups.loc[groups["held_out"], "fvu"].item())
    small.obs["one"] = "x"
    with pytest.raises(ValueError, match="`batch_key='one'` needs at least two groups"):
        sae.tl.sae_fit(small, batch_key="one")
    small.obs["plate"] = small.obs["plate"].where(small.obs["plate"] != "p1")
    with pytest.raises(ValueError, match="has 100 missing values"):
        sae.tl.sae_fit(small, batch_key="plate")


def test_dense_codes_and_failed_fits_warn(small):
    with pytest.warns(SignificanceWarning, match="hardly sparse"):
        sae.tl.sae_fit(small, 16, k=8, max_epochs=5, show_progress_bar=False)
    small.obsm["noise"] = np.random.default_rng(0).normal(size=(300, 30))
    with pytest.warns(ConvergenceWarning, match="no better than their mean"):
        sae.tl.sae_fit(small, 64, k=1, lr=1.0, max_epochs=50, use_rep="noise", show_progress_bar=False)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"use_rep": "X_PCA"}, KeyError, r"`use_rep='X_PCA'`.*Available keys: \['X_rep', 'tokens'"),
        ({"use_rep": "X_rep", "layer": "csr"}, ValueError, "exclude each other"),
        ({"use_rep": "bad"}, ValueError, r"has 2 non-finite values, the first at position \(5, 1\)"),
        ({"layer": "nope"}, KeyError, "`layer='nope'`"),
        ({"mask_var": "nope"}, KeyError, "`mask_var='nope'`"),
        ({"batch_key": "nope"}, KeyError, "`batch_key='nope'`"),
        ({"n_features": 16, "k": 17}, ValueError, r"`k` must be between 1 and `n_features` \(16\), found 17"),
        ({"architecture": "vanilla"}, ValueError, "must be one of .*'gated'.*, found 'vanilla'"),
        ({"l1_coef": 1.0}, ValueError, "`l1_coef` is for the architectures with a penalty.*'topk' takes `k`"),
        ({"architecture": "relu", "l1_coef": 1.0, "l0_target": 3}, ValueError, r"`l0_target` \(3\) has it tuned"),
        ({"architecture": "relu", "l1_coef": -1.0}, ValueError, "`l1_coef` must be at least 0"),
        ({"early_stopping": 3}, TypeError, "`early_stopping` must be True or False"),
        ({"n_features": "8"}, TypeError, "`n_features` must be an integer"),
        ({"l0_target": 2.5}, TypeError, "`l0_target` must be an integer"),
        ({"standardize": "minmax"}, ValueError, "`standardize` must be one of"),
        ({"key_added": "X_rep", "use_rep": "X_rep"}, ValueError, "would overwrite the representation"),
        ({"device": "gpu7"}, ValueError, "`device` must name a torch device"),
        ({"use_rep": "constant"}, ValueError, "no variance"),
        ({"lr": 1e30}, ValueError, "Training diverged"),
    ],
)
def test_bad_input_leaves_the_anndata_unchanged(kwargs, error, match, small):
    bad = small.obsm["X_rep"].copy()
    bad[5, 1] = np.nan
    bad[7, 0] = np.inf
    small.obsm["bad"], small.obsm["constant"] = bad, np.ones((300, 3))
    before = _snapshot(small)
    with pytest.raises(error, match=match):
        sae.tl.sae_fit(small, **({"show_progress_bar": False} | kwargs))
    assert _snapshot(small) == before


def test_no_anndata_and_too_few_rows(small):
    with pytest.raises(TypeError, match="`adata` must be an AnnData, found ndarray"):
        sae.tl.sae_fit(small.X)
    with pytest.raises(ValueError, match="At least 10 rows are needed.*n_samples = 9"):
        sae.tl.sae_fit(small[:9].copy())
    with pytest.raises(ValueError, match="`adata.X` is empty"):
        sae.tl.sae_fit(ad.AnnData(obs=small.obs))


def test_backed_mode_cannot_be_copied(small, tmp_path):
    small.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(ValueError, match="`copy=True` is not possible in backed mode"):
        sae.tl.sae_fit(backed, copy=True)


def test_error_counts_dimensions_alike_with_zscore(small):
    # one dimension in other units must not decide what is reported, and history and metrics must agree
    small.obsm["X_rep"] = small.obsm["X_rep"].copy()
    sae.tl.sae_fit(small, 32, use_rep="X_rep", standardize="zscore", **(QUICK | {"max_epochs": 30}))
    fvu = small.uns["sae"]["metrics"]["fvu"]
    assert fvu == pytest.approx(small.uns["sae"]["history"]["fvu_held_out"].iloc[-1], rel=0.02)
    small.obsm["X_rep"][:, 0] *= 1000
    sae.tl.sae_fit(small, 32, use_rep="X_rep", standardize="zscore", **(QUICK | {"max_epochs": 30}))
    assert small.uns["sae"]["metrics"]["fvu"] == pytest.approx(fvu, rel=0.02)
    # `sae_transform` measures in the same units; nearly all of these cells are those of the training
    sae.tl.sae_transform(small, small, key_added="again")
    assert small.uns["again"]["metrics"]["fvu"] == pytest.approx(small.uns["sae"]["metrics"]["fvu_train"], rel=0.15)
