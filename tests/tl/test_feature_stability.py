from __future__ import annotations

from types import SimpleNamespace

import anndata as ad
import numpy as np
import pytest

import saescape as sae
from saescape._warnings import SignificanceWarning
from saescape.tl._feature_stability import _warn

pytestmark = pytest.mark.filterwarnings("ignore:.*hardly sparse")
QUICK = {"show_progress_bar": False}


@pytest.fixture(scope="module")
def _planted():
    adata = sae.datasets.superposition(1_500, n_positions=1, n_dims=16, n_concepts=24, density=0.1, noise=0.02)
    sae.tl.sae_fit(adata, 28, k=3, max_epochs=60, **QUICK)
    sae.tl.feature_stability(adata, n_seeds=2, **QUICK)
    return adata


@pytest.fixture
def planted(_planted):
    return _planted.copy()


def test_planted_features_are_stable(planted):
    result, features = planted.uns["feature_stability"], planted.uns["sae"]["features"]
    assert result["pw_mcc"] > max(0.8, result["pw_mcc_null"].mean() + 0.15)
    assert result["pw_mcc_random"].mean() < 0.6
    assert result["share_stable"] > 0.6
    truth = planted.uns["truth"]["dictionary"]
    directions = planted.uns["sae"]["weights"]["W_dec"]
    cosine = (directions @ truth.T / np.linalg.norm(truth, axis=1)).max(1)
    # what is in the data is stable
    assert features["stable"][cosine > 0.97].mean() > 0.85
    alive = features["stability"].notna()
    assert alive.sum() > 20
    assert (features["stability_codes"][alive & features["stable"]] > 0.6).all()


def test_table_and_columns_agree(planted):
    result, features = planted.uns["feature_stability"], planted.uns["sae"]["features"]
    table = result["results"]
    by_feature = table.groupby("feature", sort=False)
    alive = features["stability"].dropna().index
    assert len(table) == 2 * len(alive)
    np.testing.assert_allclose(by_feature["cosine"].mean(), features.loc[alive, "stability"])
    np.testing.assert_allclose(by_feature["found"].mean(), features.loc[alive, "stability_share"])
    expected = table["mutual"] & (table["cosine"] > result["threshold"])
    assert (table["found"] == expected).all()
    assert (features["stable"] == (features["stability_share"] > 0.5)).all()
    assert result["share_stable"] == pytest.approx(features["stable"].sum() / len(alive))
    pairs = result["pw_mcc_pairs"]
    assert pairs.shape == (3, 3)
    assert result["pw_mcc"] == pytest.approx(pairs[np.triu_indices(3, 1)].mean())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_noise_has_no_stable_features():
    adata = ad.AnnData(np.random.default_rng(0).normal(size=(1_500, 12)).astype(np.float32))
    sae.tl.sae_fit(adata, 24, k=3, max_epochs=60, **QUICK)
    sae.tl.feature_stability(adata, n_seeds=2, n_nulls=3, **QUICK)
    result = adata.uns["feature_stability"]
    assert result["share_stable"] <= 0.1
    assert abs(result["pw_mcc"] - result["pw_mcc_null"].mean()) < 0.08


def test_warns_when_seeds_agree_by_chance():
    chance = np.array([0.5, 0.52])
    found = SimpleNamespace(random=chance - 0.2, null=chance)
    with pytest.warns(SignificanceWarning, match=r"PW-MCC 0.53\) hardly more than .* \(0.51\)"):
        _warn(0.53, found)
    _warn(0.6, found)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_settings_rep_groups_and_determinism(small, global_state):
    settings = {"use_rep": "tokens", "batch_key": "plate", "standardize": "zscore", "max_epochs": 3}
    sae.tl.sae_fit(small, 24, k=2, **settings, key_added="fit", **QUICK)
    first = sae.tl.feature_stability(small, n_seeds=1, n_nulls=0, key="fit", copy=True, **QUICK)
    second = sae.tl.feature_stability(small, n_seeds=1, n_nulls=0, key="fit", copy=True, **QUICK)
    assert "feature_stability" not in small.uns
    assert first.uns["feature_stability"]["results"].equals(second.uns["feature_stability"]["results"])
    assert first.uns["feature_stability"]["params"]["n_steps"] <= 20
    assert len(first.uns["feature_stability"]["pw_mcc_null"]) == 0
    # a copy with other numbers of refits does not change the first
    third = sae.tl.feature_stability(small, n_seeds=1, n_nulls=0, key="fit", rng=1, copy=True, **QUICK)
    assert not third.uns["feature_stability"]["results"].equals(first.uns["feature_stability"]["results"])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_penalised_architecture_and_round_trip(small, tmp_path):
    sae.tl.sae_fit(small, 24, architecture="relu", l1_coef=0.1, max_epochs=3, **QUICK)
    small.write_h5ad(tmp_path / "a.h5ad")
    read = ad.read_h5ad(tmp_path / "a.h5ad")
    sae.tl.feature_stability(read, n_seeds=1, n_nulls=2, **QUICK)
    read.write_zarr(tmp_path / "a.zarr")
    again = ad.read_zarr(tmp_path / "a.zarr")
    assert again.uns["feature_stability"]["threshold"] == read.uns["feature_stability"]["threshold"]


def test_bad_input_changes_nothing(planted):
    planted = planted.copy()
    del planted.uns["feature_stability"]
    for arguments, message in (
        ({"n_seeds": 0}, "`n_seeds` must be at least 1"),
        ({"n_nulls": 1}, "`n_nulls` must be 0 or at least 2"),
        ({"key_added": "sae"}, "would overwrite"),
    ):
        with pytest.raises(ValueError, match=message):
            sae.tl.feature_stability(planted, **arguments)
    with pytest.raises(KeyError, match="`key='other'`"):
        sae.tl.feature_stability(planted, key="other")
    with pytest.raises(KeyError, match="not in `adata`, or has other dimensions"):
        sae.tl.feature_stability(planted[:, :5].copy())
    foreign = planted.copy()
    del foreign.uns["sae"]["params"]["lr"]
    with pytest.raises(ValueError, match=r"settings \['lr'\] are not stored"):
        sae.tl.feature_stability(foreign)
    assert "feature_stability" not in planted.uns
