from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import saescape as sae
from saescape._warnings import SignificanceWarning

FAST = {"n_neighbors": (4, 8), "n_perms": 19, "show_progress_bar": False}
KEYS = ["rep", "rep_other", "obs_key", "group", "statistic", "k", "n_dims", "n_dims_other"]


@pytest.fixture
def adata(small):
    adata = small[:120].copy()
    rng = np.random.default_rng(0)
    adata.obsm["X_noise"] = rng.normal(size=(120, 5)).astype(np.float32)
    adata.obsm["X_sparse"] = sparse.csr_matrix(np.maximum(adata.obsm["X_rep"] - 3, 0))
    adata.obs["y"] = adata.obsm["X_rep"][:, 0] + 0.1 * rng.normal(size=120)
    adata.obs["label"] = np.where(adata.obs["y"] > adata.obs["y"].median(), "high", "low")
    adata.obs["flag"] = adata.obs["y"] > adata.obs["y"].quantile(0.7)
    adata.obs["donor"] = [f"d{i // 20}" for i in range(120)]
    return adata


def run(adata, use_reps=("X_rep",), obs_keys="y", **kwargs):
    key = kwargs.get("key_added") or "compare_representations"
    result = sae.tl.compare_representations(adata, use_reps, obs_keys, copy=True, **{**FAST, **kwargs})
    return result.uns[key]["results"]


def one(results, **chosen):
    for column, value in chosen.items():
        results = results[results[column] == value]
    assert len(results) == 1
    return results.iloc[0]


def test_table(adata):
    before = adata.copy()
    assert sae.tl.compare_representations(adata, ["X_rep", "X_noise", "tokens"], ["y", "label", "flag"], **FAST) is None
    stored = adata.uns["compare_representations"]
    results = stored["results"]
    assert set(stored) == {"results", "params"}
    assert not results.duplicated(KEYS).any()
    assert set(results["rep"]) == {
        *("X_rep", "X_noise", "tokens", "X_rep (L2)", "X_rep (whitened)", "X_rep (random ReLU)"),
    }
    assert set(results.loc[results["obs_key"] == "y", "statistic"]) == {
        *("morans_i", "gearys_c", "local_sd_ratio", "knn_r2", "ridge_r2"),
    }
    for name in ("label", "flag"):
        assert set(results.loc[results["obs_key"] == name, "statistic"]) == {
            *("neighbor_purity", "knn_accuracy", "probe_accuracy"),
        }
    assert results["pvalue"].between(1 / 20, 1).all()
    assert (results["padj"] >= results["pvalue"] - 1e-12).all()
    assert (results["n_perms"] == 19).all()
    assert (results["n_obs"] == 120).all()
    assert results.loc[results["rep"] == "X_rep (random ReLU)", "n_dims"].unique() == [20]
    assert results.groupby("rep")["baseline"].first().sum() == 3
    # what carries the phenotype is found, noise is not
    for statistic in ("morans_i", "gearys_c", "local_sd_ratio", "knn_r2"):
        assert one(results, rep="X_rep", statistic=statistic, k=8, obs_key="y")["pvalue"] == 1 / 20
        assert one(results, rep="X_noise", statistic=statistic, k=8, obs_key="y")["pvalue"] > 1 / 20
    assert (
        one(results, rep="X_rep", statistic="ridge_r2")["value"]
        > 0.9
        > one(results, rep="X_noise", statistic="ridge_r2")["value"]
    )
    # only `uns` is written
    del adata.uns["compare_representations"]
    assert adata.obs.equals(before.obs)
    assert list(adata.obsm) == list(before.obsm)


def test_values_equal_the_metrics(adata):
    results = run(adata, ["X_rep", "tokens"], n_perms=99)
    x, y = adata.obsm["X_rep"], adata.obs["y"].to_numpy()
    assert one(results, rep="X_rep", statistic="morans_i", k=8)["value"] == pytest.approx(sae.metrics.morans_i(x, y, 8))
    ratio = sae.metrics.local_sd_ratio(x, y, 8, n_perms=99)
    assert one(results, rep="X_rep", statistic="local_sd_ratio", k=8)["ratio"] == pytest.approx(ratio, rel=0.05)
    overlap = sae.metrics.knn_recall(x, adata.obsm["tokens"].mean(1), 8)
    assert one(results, rep="X_rep", rep_other="tokens", k=8)["value"] == pytest.approx(overlap, abs=1e-3)
    info = sae.metrics.morans_i(x, y, 8, return_info=True)[1]
    assert one(results, rep="X_rep", statistic="morans_i", k=8)["null_sd"] == pytest.approx(info["sd"], rel=0.3)


def test_order_of_observations_does_not_matter(adata):
    kwargs = {"use_reps": ["X_rep", "X_sparse"], "obs_keys": ["y", "label"], "batch_key": "donor", "groupby": "group"}
    first = run(adata, **kwargs)
    second = run(adata[np.random.default_rng(0).permutation(120)].copy(), **kwargs)
    pd.testing.assert_frame_equal(first, second, rtol=1e-4)


def test_permutations_are_paired_and_seeded(adata):
    adata.obsm["X_again"] = adata.obsm["X_rep"].copy()
    results = run(adata, ["X_rep", "X_again"], ["y", "label"])
    first, second = (results[(results["rep"] == rep) & (results["rep_other"] == "")] for rep in ("X_rep", "X_again"))
    columns = ["value", "null_mean", "null_sd", "pvalue"]
    np.testing.assert_array_equal(first[columns], second[columns])
    pd.testing.assert_frame_equal(results, run(adata, ["X_rep", "X_again"], ["y", "label"]))
    other = run(adata, ["X_rep", "X_again"], ["y", "label"], rng=1)
    assert not np.array_equal(results["null_mean"], other["null_mean"])


def test_groups_stand_alone(adata):
    adata.obs["half"] = pd.Categorical(["a", "b"] * 60, categories=["b", "a", "empty"])
    results = run(adata, groupby="half", baselines=False)
    assert list(dict.fromkeys(results["group"])) == ["all", "b", "a"]
    alone = adata[adata.obs["half"] == "a"]
    expected = sae.metrics.morans_i(alone.obsm["X_rep"], alone.obs["y"], 8)
    assert one(results, group="a", statistic="morans_i", k=8)["value"] == pytest.approx(expected)
    assert one(results, group="a", statistic="morans_i", k=8)["n_obs"] == 60


def test_missing_values_are_left_out_and_counted(adata):
    adata.obs["gaps"] = adata.obs["y"].where(np.arange(120) % 4 > 0)
    results = run(adata, obs_keys=["y", "gaps"])
    known = adata[adata.obs["gaps"].notna()]
    found = one(results, rep="X_rep", obs_key="gaps", statistic="morans_i", k=4)
    assert found["n_obs"] == 90
    assert found["value"] == pytest.approx(sae.metrics.morans_i(known.obsm["X_rep"], known.obs["gaps"], 4))
    assert one(results, rep="X_rep", obs_key="y", statistic="morans_i", k=4)["n_obs"] == 120


def test_dimensions_are_matched(adata):
    results = run(adata, ["X_rep", "X_noise", "X_sparse", "X"], dims=(None, 5, 40))
    assert set(results.loc[results["rep"] == "X_rep", "n_dims"]) == {12, 5}
    assert set(results.loc[results["rep"] == "X_noise", "n_dims"]) == {5}
    assert set(results.loc[results["rep"] == "X", "n_dims"]) == {20, 5}
    assert not results.duplicated(KEYS).any()
    components = sc.pp.pca(adata.obsm["X_rep"], n_comps=5)
    expected = sae.metrics.morans_i(components, adata.obs["y"], 8)
    found = one(results, rep="X_rep", n_dims=5, statistic="morans_i", k=8)["value"]
    assert found == pytest.approx(expected, abs=0.01)
    # the first whitened components, not components of whitened data
    whitened = components / components.std(0)
    found = one(results, rep="X_rep (whitened)", n_dims=5, statistic="morans_i", k=8)["value"]
    assert found == pytest.approx(sae.metrics.morans_i(whitened, adata.obs["y"], 8), abs=0.01)
    assert set(run(adata, dims=4, baselines=False)["n_dims"]) == {4}
    # neighbours of five dimensions are compared with those of all and of five others
    shared = run(adata, ["X_noise", "X_rep"], dims=(None, 5), baselines=False)
    shared = shared[(shared["statistic"] == "knn_overlap") & (shared["k"] == 8)]
    assert list(shared["n_dims_other"]) == [12, 5]
    expected = sae.metrics.knn_recall(adata.obsm["X_noise"], components, 8)
    assert shared["value"].iloc[1] == pytest.approx(expected, abs=1e-3)


@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
def test_baselines_come_from_what_the_autoencoder_was_fitted_on(adata):
    sae.tl.sae_fit(adata, 32, use_rep="tokens", max_epochs=1, k=1, show_progress_bar=False)
    results = run(adata, ["X_noise", "X_sae"])
    assert set(results.loc[results["baseline"] & (results["rep_other"] == ""), "rep"]) == {
        *("tokens", "tokens (L2)", "tokens (whitened)", "tokens (random ReLU)"),
    }
    assert one(results, rep="tokens (random ReLU)", statistic="ridge_r2")["n_dims"] == 32
    assert set(run(adata, ["X_noise"]).loc[lambda t: t["baseline"], "rep"]) == {
        *("X_noise (L2)", "X_noise (whitened)", "X_noise (random ReLU)"),
    } | {"X_noise"}
    sae.tl.sae_fit(adata, 16, max_epochs=1, k=1, key_added="other", show_progress_bar=False)
    assert "X (L2)" in set(run(adata, ["X_noise"], key="other")["rep"])


def test_batches_are_held_out_and_hold_permutations(adata):
    # a donor has its own place and its own level: no association within donors
    rng = np.random.default_rng(0)
    donor = np.arange(120) // 20
    adata.obsm["X_rep"] = (5 * rng.normal(size=(6, 12))[donor] + rng.normal(size=(120, 12))).astype(np.float32)
    adata.obs["y"] = 5 * rng.normal(size=6)[donor] + rng.normal(size=120)
    free, blocked = run(adata, baselines=False), run(adata, baselines=False, batch_key="donor")
    pick = {"rep": "X_rep", "statistic": "morans_i", "k": 8}
    assert one(free, **pick)["pvalue"] == 1 / 20 < one(blocked, **pick)["pvalue"]
    assert one(free, **pick)["value"] == one(blocked, **pick)["value"]
    for pick in ({"statistic": "knn_r2", "k": 8}, {"statistic": "ridge_r2"}):
        assert one(free, **pick)["value"] > 0.8 > 0.6 > one(blocked, **pick)["value"]


def test_phenotypes_of_batches(adata):
    donor = np.arange(120) // 20
    adata.obs["age"] = np.array([30.0, 41, 52, 63, 74, 85])[donor]
    adata.obs["patient"] = np.array(["sick", "well"])[donor % 2]
    with pytest.warns(SignificanceWarning, match="'donor' in group 'all' is not identifiable.*equals it"):
        results = run(adata, obs_keys="donor", batch_key="donor", baselines=False)
    purity = one(results, statistic="neighbor_purity", k=4)
    assert np.isfinite(purity["value"])
    assert np.isnan(purity[["null_mean", "pvalue", "padj"]].astype(float)).all()
    assert purity["n_perms"] == 0
    assert purity["permuted"] == "none"
    for name in ("age", "patient"):
        with pytest.warns(SignificanceWarning, match=f"{name}.*whole batches are permuted, and the 6 batches"):
            results = run(adata, obs_keys=name, batch_key="donor", baselines=False)
        assert set(results["permuted"]) == {"batches"}
        assert results["pvalue"].notna().all()
    adata.obs["two"] = np.array(["x", "y", "y"])[donor // 2]
    adata.obs["pair"] = np.array(["p", "q", "r"])[donor // 2]
    with pytest.warns(SignificanceWarning) as caught:
        run(adata, obs_keys="two", batch_key="pair", baselines=False)
    assert any("too few batches for p-values below .05" in str(w.message) for w in caught)


def test_small_groups_single_batches_and_constant_groups(adata):
    adata.obs["part"] = ["tiny"] * 5 + ["flat"] * 20 + ["rest"] * 95
    adata.obs["batch"] = ["a"] * 25 + ["b", "c"] * 47 + ["b"]
    adata.obs.loc[adata.obs["part"] == "flat", "y"] = 1.0
    with pytest.warns(SignificanceWarning) as caught:
        results = run(adata, obs_keys=["y", "label"], groupby="part", batch_key="batch", baselines=False)
    messages = " ".join(str(w.message) for w in caught)
    assert "largest number of neighbours (8) are left out: 'tiny' (5)" in messages
    assert "'y' in 'flat'" in messages
    assert "Group 'flat' has a single batch" in messages
    assert set(results["group"]) == {"all", "flat", "rest"}
    assert set(results.loc[results["group"] == "flat", "statistic"]) <= {"neighbor_purity", "knn_overlap"}


@pytest.mark.parametrize("fmt", ["h5ad", "zarr"])
def test_round_trip(adata, tmp_path, fmt):
    sae.tl.compare_representations(
        adata, ["X_rep", "X_sparse"], ["y", "label"], batch_key="donor", groupby="group", key_added="mine", **FAST
    )
    path = tmp_path / f"a.{fmt}"
    getattr(adata, f"write_{fmt}")(path)
    back = (ad.read_h5ad if fmt == "h5ad" else ad.read_zarr)(path)
    before, after = adata.uns["mine"], back.uns["mine"]
    after["results"].index = before["results"].index
    pd.testing.assert_frame_equal(before["results"], after["results"], check_dtype=False, check_categorical=False)
    assert after["results"]["k"].dtype == "Int64"
    assert list(after["params"]["use_reps"]) == ["X_rep", "X_sparse"]
    assert "compare_representations" not in back.uns
    sae.pl.representations(back, key="mine", show=False)


def test_sparse_backed_and_tokens_give_what_dense_ones_give(adata, tmp_path):
    adata.obsm["X_dense"] = adata.obsm["X_sparse"].toarray()
    adata.obsm["X_pooled"] = adata.obsm["tokens"].mean(1)
    results = run(adata, ["X_sparse", "X_dense", "tokens", "X_pooled"], ["y", "label"], baselines=False)
    parts = dict(list(results[results["rep_other"] == ""].groupby("rep")))
    for first, second in (("X_sparse", "X_dense"), ("tokens", "X_pooled")):
        np.testing.assert_allclose(parts[first]["value"], parts[second]["value"], atol=1e-4)
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    sae.tl.compare_representations(backed, "X", "y", baselines=False, **FAST)
    found = backed.uns["compare_representations"]["results"]
    pd.testing.assert_frame_equal(found, run(adata, "X", "y", baselines=False))


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"use_reps": "X_gone"}, KeyError, r"`use_reps='X_gone'`.*Available keys: \['X_rep'"),
        ({"use_reps": []}, ValueError, "`use_reps` must be"),
        ({"use_reps": [3]}, TypeError, "`use_reps` must be"),
        ({"obs_keys": "gone"}, KeyError, "`obs_keys='gone'`"),
        ({"obs_keys": "flat"}, ValueError, "'flat'.* is constant"),
        ({"obs_keys": "mixed"}, TypeError, "'mixed'.* must hold numbers or labels"),
        ({"obs_keys": "names"}, ValueError, "'names'.* different label"),
        ({"groupby": "gone"}, KeyError, "`groupby='gone'`"),
        ({"groupby": "alls"}, ValueError, "a group 'all'"),
        ({"batch_key": "gone"}, KeyError, "`batch_key='gone'`"),
        ({"batch_key": "holes"}, ValueError, "missing for 1 observation"),
        ({"batch_key": "names"}, ValueError, "single observation in every batch"),
        ({"n_neighbors": (5, 120)}, ValueError, r"`n_neighbors` must be between 2 and `n_obs - 1` \(119\), found 120"),
        ({"n_neighbors": 1}, ValueError, "`n_neighbors` must be between 2"),
        ({"n_neighbors": ()}, ValueError, "at least one"),
        ({"n_neighbors": 2.5}, TypeError, "`n_neighbors` must be an integer"),
        ({"n_perms": 0}, ValueError, "`n_perms` must be at least 1"),
        ({"dims": 0}, ValueError, "`dims` must be at least 1"),
        ({"dims": ()}, ValueError, "`dims` must be"),
        ({"key": "gone"}, KeyError, "`key='gone'`"),
        ({"use_reps": "bad"}, ValueError, "bad.*1 non-finite"),
        ({"obs_keys": "rare", "n_neighbors": 30}, ValueError, "Nothing can be measured.*'rare'"),
    ],
)
@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
def test_bad_input_changes_nothing(adata, kwargs, error, match):
    adata.obs["flat"] = 1
    adata.obs["mixed"] = pd.Series(["a", 1.0] * 60, dtype=object, index=adata.obs_names)
    adata.obs["names"] = adata.obs_names.to_numpy()
    adata.obs["alls"] = ["all", "b"] * 60
    adata.obs["holes"] = [None, *["a"] * 119]
    adata.obs["rare"] = [1.0, 2.0] * 10 + [np.nan] * 100
    adata.obsm["bad"] = adata.obsm["X_rep"].copy()
    adata.obsm["bad"][3, 2] = np.nan
    before = adata.copy()
    with pytest.raises(error, match=match):
        sae.tl.compare_representations(adata, **{"use_reps": "X_rep", "obs_keys": "y", **FAST, **kwargs})
    assert list(adata.uns) == list(before.uns)
    assert list(adata.obs) == list(before.obs)


@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
def test_results_do_not_overwrite_a_fit(adata):
    sae.tl.sae_fit(adata, 16, max_epochs=1, k=1, show_progress_bar=False)
    with pytest.raises(ValueError, match="would overwrite"):
        run(adata, key_added="sae")


def test_hint_about_widths_and_count_of_missing(adata, monkeypatch):
    logged = []
    for level in ("info", "hint"):
        monkeypatch.setattr(f"saescape._logging.logg.{level}", lambda text, **_: logged.append(text))
    adata.obs["gaps"] = adata.obs["y"].where(np.arange(120) > 9)
    run(adata, ["X_noise", "X_rep"], "gaps", baselines=False)
    assert any("'gaps' is missing for 10 of 120" in text for text in logged)
    assert not any("dims=(None" in text for text in logged)
    adata.obsm["X_narrow"] = adata.obsm["X_noise"][:, :2]
    run(adata, ["X_narrow", "X_rep"], baselines=False)
    assert any("dims=(None, 2)" in text for text in logged)


def test_global_states_are_left_alone_and_no_warning_without_reason(adata, global_state):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(adata, ["X_rep", "X_sparse"], ["y", "label"], batch_key="donor", dims=(None, 3))
