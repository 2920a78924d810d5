from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import saescape as sae
from saescape.sae._sweep_grid import make_grid

COLUMNS = [
    *("n_features", "k", "architecture", "fvu", "fvu_sd", "fvu_train", "l0", "n_dead"),
    *("stability", "stability_random", "stability_null", "stability_share", "seconds"),
]
QUICK = {"n_seeds": 2, "n_nulls": 0, "max_epochs": 3, "show_progress_bar": False}


def run(adata, **kwargs):
    return sae.tl.sae_sweep(adata, copy=True, **{**QUICK, **kwargs}).uns["sae_sweep"]["results"]


def without_time(results):
    return results.drop(columns="seconds")


def test_the_smallest_error_among_stable_settings_is_that_of_the_true_sparsity():
    rng = np.random.default_rng(1)
    dictionary = rng.normal(size=(32, 16))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    codes = rng.gamma(3, 1 / 3, (2500, 32)) * (rng.random((2500, 32)) < 3 / 32)
    adata = ad.AnnData(codes @ dictionary + 0.05 * rng.normal(size=(2500, 16)))
    results = run(adata, k=[1, 3, 8], n_features=32, max_epochs=60, n_seeds=3, n_nulls=2).set_index("k")
    # the error alone would take the largest
    assert results["fvu"].idxmin() == 8
    stable = results[results["stability"] > results["stability"].max() - 0.08]
    assert stable["fvu"].idxmin() == 3
    chance = results[["stability_null", "stability_random"]].max(axis=1)
    assert results.loc[3, "stability"] > chance[3] + 0.15
    assert results.loc[3, "stability_share"] > 0.75
    assert results.loc[8, "stability_share"] < 0.5


def test_noise_is_no_more_stable_than_chance():
    adata = ad.AnnData(np.random.default_rng(0).normal(size=(2500, 16)))
    results = run(adata, k=[2, 4], n_features=32, max_epochs=60, n_seeds=3, n_nulls=2)
    chance = results[["stability_null", "stability_random"]].max(axis=1)
    assert (results["stability"] < chance + 0.1).all()
    np.testing.assert_allclose(results["stability"], results["stability_random"], atol=0.15)
    assert (results["stability_share"] < 0.2).all()


def test_table_is_complete_and_ordered(small, global_state):
    assert sae.tl.sae_sweep(small, k=[1, 2], n_features=[16, 24], use_rep="X_rep", **QUICK) is None
    stored = small.uns["sae_sweep"]
    results = stored["results"]
    assert list(results.columns) == COLUMNS
    assert results[["n_features", "k"]].to_numpy().tolist() == [[16, 1], [16, 2], [24, 1], [24, 2]]
    assert results.drop(columns="stability_null").notna().all(axis=None)
    assert results["stability_null"].isna().all()
    assert ((results["l0"] > 0) & (results["l0"] <= results["k"])).all()
    assert results[["stability", "stability_random"]].abs().max(axis=None) <= 1
    assert results["stability_share"].between(0, 1).all()
    assert stored["params"]["n_features"].tolist() == [16, 24]
    assert stored["params"]["k"].tolist() == [1, 2]
    assert stored["params"]["n_train"] + stored["params"]["n_held_out"] == 300
    assert "sae" not in small.uns
    assert not {"X_sae", "sae_sweep"} & set(small.obsm)


def test_default_grid_is_sparse_and_surrounds_the_defaults(small):
    results = run(small, max_epochs=1)
    sae.tl.sae_fit(small, use_rep=None, max_epochs=1, show_progress_bar=False)
    width = small.uns["sae"]["params"]["n_features"]
    assert results["n_features"].unique().tolist() == [width // 2, width, 2 * width]
    assert (results["k"] <= np.maximum(1, results["n_features"] // 10)).all()
    assert set(np.log2(results["k"]) % 1) == {0}


@pytest.mark.parametrize(
    ("n_rows", "n_dims", "expected"),
    [(50_000, 50, {256: [2, 4, 8, 16]}), (100_000, 512, {4096: [4, 8, 16, 32, 64]}), (50_000, 3, {16: [1]})],
)
def test_default_sparsities(n_rows, n_dims, expected):
    for width, ks in expected.items():
        plans = make_grid(n_rows, n_dims, k=None, n_features=width)
        assert [plan.k for plan in plans] == ks
        assert {plan.n_features for plan in plans} == {width}


def test_a_row_does_not_depend_on_the_rest_of_the_grid(small):
    results = without_time(run(small, k=[1, 2], n_features=[16, 24], n_nulls=2))
    alone = without_time(run(small, k=2, n_features=24, n_nulls=2))
    pd.testing.assert_frame_equal(results.iloc[3:].reset_index(drop=True), alone.reset_index(drop=True))


def test_rng(small):
    first, second = (without_time(run(small, k=2, n_features=16, n_nulls=2)) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    generator = sae.tl.sae_sweep(small, k=2, n_features=16, rng=np.random.default_rng(0), copy=True, **QUICK)
    assert generator.uns["sae_sweep"]["params"]["rng"] == "generator"
    found = without_time(generator.uns["sae_sweep"]["results"])
    pd.testing.assert_frame_equal(found, without_time(run(small, k=2, n_features=16)))
    assert run(small, k=2, n_features=16, rng=1)["fvu"].item() != first["fvu"].item()


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_round_trip(suffix, small, tmp_path):
    sae.tl.sae_sweep(small, k=2, n_features=16, batch_key="plate", key_added="mine", **QUICK)
    path = tmp_path / f"a.{suffix}"
    (small.write_h5ad if suffix == "h5ad" else small.write_zarr)(path)
    back = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    pd.testing.assert_frame_equal(back.uns["mine"]["results"], small.uns["mine"]["results"], check_dtype=False)
    assert back.uns["mine"]["params"]["batch_key"] == "plate"
    assert back.uns["mine"]["params"]["n_held_out"] == 100


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka", "jumprelu", "gated", "relu"])
def test_architectures_and_tokens(architecture, small):
    results = run(small, k=2, n_features=16, use_rep="tokens", architecture=architecture)
    assert results["architecture"].item() == architecture
    assert np.isfinite(results["fvu"].item())


def test_every_container_gives_the_same_result(small):
    import dask.array as da

    small.X[:, 3] *= 10
    expected = without_time(run(small, k=2, n_features=16, standardize="zscore"))
    small.layers["dask"] = da.from_array(small.X, chunks=(70, 20))
    small.layers["csr"] = type(small.layers["csr"])(small.X)
    for layer in ("csr", "dask"):
        found = without_time(run(small, k=2, n_features=16, standardize="zscore", layer=layer))
        pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"k": [2, 1]}, ValueError, r"`k` must be increasing without repeats, found \[2, 1\]; use \[1, 2\]"),
        ({"k": [2, 2]}, ValueError, "`k` must be increasing"),
        ({"k": [1.5]}, TypeError, "`k` must be an integer"),
        ({"k": "4"}, TypeError, "`k` must be an integer"),
        ({"k": []}, ValueError, "`k` is empty"),
        ({"k": 0}, ValueError, "`k` must be at least 1"),
        ({"k": [2, 17]}, ValueError, r"`k` must be between 1 and `n_features` \(16\), found 17"),
        ({"n_features": [32, 16]}, ValueError, "`n_features` must be increasing"),
        ({"n_seeds": 1}, ValueError, "`n_seeds` must be at least 2"),
        ({"n_seeds": 2.0}, TypeError, "`n_seeds` must be an integer"),
        ({"n_nulls": 1}, ValueError, "`n_nulls` must be 0 or at least 2"),
        ({"architecture": "top"}, ValueError, "`architecture` must be one of"),
        ({"use_rep": "X_pca"}, KeyError, "sc.pp.pca"),
        ({"batch_key": "donor"}, KeyError, "`batch_key='donor'`"),
        ({"key_added": "sae"}, ValueError, "would overwrite a fitted sparse autoencoder"),
    ],
)
def test_bad_input_leaves_the_object_as_it_was(kwargs, error, match, small):
    small.uns["sae"] = {"weights": {}}
    before = small.copy()
    with pytest.raises(error, match=match):
        sae.tl.sae_sweep(small, **{"k": 2, "n_features": 16, **QUICK, **kwargs})
    assert list(small.uns) == list(before.uns)
    assert list(small.obsm) == list(before.obsm)


def test_non_finite_and_diverging_data(small):
    with pytest.raises(ValueError, match="Training diverged"):
        sae.tl.sae_sweep(small, k=2, n_features=16, **{**QUICK, "lr": 1e30})
    small.X[5, 7] = np.nan
    with pytest.raises(ValueError, match=r"1 non-finite values, the first at position \(5, 7\)"):
        sae.tl.sae_sweep(small, k=2, n_features=16, **QUICK)
    assert "sae_sweep" not in small.uns
