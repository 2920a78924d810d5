from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import saescape as sae


def planted(n=3_000, n_noise=40, seed=0):
    """Cells of twelve types; features of one type, of four, and of none; a judge who knows the types."""
    rng = np.random.default_rng(seed)
    label, donor = rng.integers(0, 12, n), rng.integers(0, 5, n)
    member = np.column_stack([label == 0, label == 1, np.isin(label, [2, 3, 4, 5]), rng.random((n, n_noise)) < 0.1])
    codes = member * rng.uniform(0.5, 1.5, member.shape)
    adata = ad.AnnData((codes @ rng.normal(size=(codes.shape[1], 10))).astype(np.float32))
    adata.obs["cell_type"] = pd.Categorical([f"type {i}" for i in label])
    adata.obs["donor"] = [f"d{i}" for i in donor]
    adata.obsm["judge"] = rng.normal(size=(12, 16))[label] + 0.5 * rng.normal(size=(n, 16))
    adata.obsm["X_sae"] = sparse.csr_matrix(codes, dtype=np.float32)
    m = codes.shape[1]
    adata.uns["sae"] = {
        "params": {"use_rep": None, "layer": None},
        "weights": {"W_dec": np.ones((m, 10), np.float32)},
        "features": pd.DataFrame(index=[f"sae_{i}" for i in range(m)]),
    }
    return adata


@pytest.fixture(scope="module")
def shared():
    adata = planted()
    sae.tl.feature_scores(adata, use_rep="judge", groupby="cell_type", batch_key="donor")
    return adata


@pytest.fixture
def scored(shared):
    return shared.copy()


def test_planted_features_are_clear_and_noise_is_not(scored):
    table = scored.uns["feature_scores"]["results"].set_index("feature")
    one, other, four = (table.loc[f"sae_{i}"] for i in range(3))
    assert one["two_afc"] == other["two_afc"] == 1
    assert one["entropy"] == pytest.approx(0, abs=1e-12)
    assert one["purity"] == pytest.approx(1)
    assert [one["main_label"], other["main_label"]] == ["type 0", "type 1"]
    assert one["ms"] == pytest.approx(one["ms_ceiling"], abs=0.02)
    assert four["entropy"] == pytest.approx(np.log(4), abs=0.05)
    assert one["ms"] > 2 * four["ms"] > 2 * four["ms_null"]
    planted_pvalues = table.iloc[:3][["ms_pvalue", "two_afc_pvalue", "entropy_pvalue", "purity_pvalue"]]
    assert (planted_pvalues < 0.05).all(axis=None)
    noise = table.iloc[3:]
    assert abs(noise["two_afc"].mean() - 0.5) < 0.03
    np.testing.assert_allclose(noise["ms"], noise["ms_null"], atol=0.03)


def test_scores_are_those_of_the_metrics(scored):
    table = scored.uns["feature_scores"]["results"]
    codes, label = scored.obsm["X_sae"], scored.obs["cell_type"]
    np.testing.assert_allclose(table["ms"], sae.metrics.monosemanticity(codes, scored.obsm["judge"]), atol=1e-6)
    np.testing.assert_allclose(table["entropy"], sae.metrics.label_entropy(codes, label))
    np.testing.assert_allclose(table["purity"], sae.metrics.label_purity(codes, label))
    features = scored.uns["sae"]["features"]
    for column in ("ms", "ms_pvalue", "two_afc", "entropy", "purity", "main_label"):
        assert features[column].tolist() == table[column].tolist()


def test_pvalues_are_uniform_without_anything_to_find():
    rates = []
    for seed in range(3):
        adata = planted(1_000, n_noise=60, seed=seed)
        adata.obsm["judge"] = adata.obsm["judge"][np.random.default_rng(seed).permutation(1_000)]
        adata.obs["cell_type"] = adata.obs["cell_type"].to_numpy()[np.random.default_rng(seed).permutation(1_000)]
        sae.tl.feature_scores(adata, use_rep="judge", groupby="cell_type", rng=seed)
        table = adata.uns["feature_scores"]["results"]
        rates.append([(table[f"{name}_pvalue"] < 0.05).mean() for name in ("ms", "two_afc", "entropy", "purity")])
    assert (np.mean(rates, 0) < 0.1).all()


def test_features_are_less_polysemantic_than_dimensions():
    """One label for each of 60 concepts in six dimensions, and codes of an oracle."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 60, 4_000)
    codes = np.eye(60)[label] * rng.uniform(0.5, 1.5, (4_000, 1))
    dictionary = rng.normal(size=(60, 6))
    adata = ad.AnnData((codes @ dictionary + 0.05 * rng.normal(size=(4_000, 6))).astype(np.float32))
    adata.obsm["judge"] = rng.normal(size=(60, 16))[label] + 0.5 * rng.normal(size=(4_000, 16))
    adata.obs["label"] = pd.Categorical(label.astype(str))
    adata.obsm["X_sae"] = sparse.csr_matrix(codes, dtype=np.float32)
    adata.uns["sae"] = {
        "params": {"use_rep": None, "layer": None},
        "weights": {"W_dec": dictionary.astype(np.float32)},
        "features": pd.DataFrame(index=[f"sae_{i}" for i in range(60)]),
    }
    sae.tl.feature_scores(adata, use_rep="judge", groupby="label")
    table = adata.uns["feature_scores"]["polysemanticity"]
    assert table.index.tolist() == ["features", "dimensions"]
    assert table["n"].tolist() == [60, 12]
    assert table.loc["features", "entropy"] == pytest.approx(0, abs=1e-12)
    # more than one bit
    assert table.loc["dimensions", "entropy"] > np.log(2)
    assert table.loc["features", "ms"] > 1.5 * table.loc["dimensions", "ms"]
    assert table.loc["features", "two_afc"] == 1


def test_the_judge_must_be_independent(scored):
    adata = scored.copy()
    adata.obsm["same"] = adata.X.copy()
    with pytest.raises(ValueError, match="`use_rep='same'` is what the features were fitted on.*'judge'"):
        sae.tl.feature_scores(adata, use_rep="same")
    adata.uns["sae"]["params"]["use_rep"] = "judge"
    with pytest.raises(ValueError, match="cannot judge them"):
        sae.tl.feature_scores(adata, use_rep="judge")
    sae.tl.feature_scores(adata, use_rep="judge", allow_same=True, key_added="same")
    assert adata.uns["same"]["params"]["allow_same"]


def test_rare_and_dead_features_have_rows_without_values():
    adata = planted(500)
    codes = adata.obsm["X_sae"].toarray()
    codes[:, 5] = 0
    codes[9:, 6] = 0
    adata.obsm["X_sae"] = sparse.csr_matrix(codes)
    del adata.uns["sae"]["params"]
    adata.X = None
    sae.tl.feature_scores(adata, use_rep="judge", groupby="cell_type")
    table = adata.uns["feature_scores"]["results"]
    assert len(table) == 43
    assert table.loc[["5", "6"], ["ms", "ms_pvalue", "two_afc", "entropy", "ms_ceiling"]].isna().all(axis=None)
    assert (table.loc[["5", "6"], "main_label"] == "").all()
    assert adata.uns["feature_scores"]["polysemanticity"].index.tolist() == ["features"]


def test_round_trip_determinism_and_copy(scored, tmp_path, global_state):
    arguments = {"use_rep": "judge", "groupby": "cell_type", "batch_key": "donor", "n_perms": 3}
    first = sae.tl.feature_scores(scored, **arguments, key_added="ours", copy=True)
    second = sae.tl.feature_scores(scored, **arguments, key_added="ours", copy=True)
    assert "ours" not in scored.uns
    pd.testing.assert_frame_equal(first.uns["ours"]["results"], second.uns["ours"]["results"])
    first.write_h5ad(tmp_path / "a.h5ad")
    first.write_zarr(tmp_path / "a.zarr")
    for read in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        np.testing.assert_array_equal(read.uns["ours"]["results"]["ms"], first.uns["ours"]["results"]["ms"])


def test_bad_input_changes_nothing():
    adata = planted(200)
    for arguments, error, message in (
        ({"use_rep": "none"}, KeyError, "`use_rep='none'`"),
        ({"use_rep": "judge", "groupby": "none"}, KeyError, "`groupby='none'`"),
        ({"use_rep": "judge", "n_perms": 2}, ValueError, "`n_perms` must be at least 3"),
        ({"use_rep": "judge", "n_trials": 0}, ValueError, "`n_trials` must be at least 1"),
        ({"use_rep": "judge", "key_added": "sae"}, ValueError, "would overwrite"),
    ):
        with pytest.raises(error, match=message):
            sae.tl.feature_scores(adata, **arguments)
    assert list(adata.uns) == ["sae"]
    assert "ms" not in adata.uns["sae"]["features"]
