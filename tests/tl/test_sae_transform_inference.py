from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

import saescape as sae
from saescape._warnings import ConvergenceWarning

QUICK = {"k": 2, "max_epochs": 20, "show_progress_bar": False}


@pytest.fixture
def trained(small):
    sae.tl.sae_fit(small, 32, use_rep="tokens", **QUICK)
    return small


@pytest.mark.parametrize("inference", ["fista", "omp"])
def test_codes_and_what_is_reported(inference, trained, global_state):
    new = trained[:200].copy()
    sae.tl.sae_transform(new, trained, show_progress_bar=False)
    by_encoder = new.uns["sae"]["metrics"]
    assert "fvu_encoder" not in by_encoder
    assert new.uns["sae"]["params"]["inference"] == "encoder"
    sae.tl.sae_transform(new, trained, inference=inference, show_progress_bar=False)
    metrics, params = new.uns["sae"]["metrics"], new.uns["sae"]["params"]
    assert metrics["fvu_encoder"] == pytest.approx(by_encoder["fvu"])
    assert metrics["l0_encoder"] == by_encoder["l0"]
    assert metrics["l0"] == pytest.approx(metrics["l0_encoder"], rel=0.02)
    assert metrics["amortisation_gap"] == pytest.approx(metrics["fvu_encoder"] - metrics["fvu"])
    assert params["inference"] == inference
    assert params["penalty"] > 0
    assert new.obsm["X_sae"].dtype == np.float32
    assert (new.obsm["X_sae"].data > 0).all()


@pytest.mark.parametrize("standardize", ["center", "zscore", "none"])
def test_fvu_is_that_of_the_codes(standardize, small):
    small.X[:, :5] *= 20
    sae.tl.sae_fit(small, 32, standardize=standardize, **QUICK)
    sae.tl.sae_transform(small, small, inference="omp", key_added="omp", show_progress_bar=False)
    x_hat = sae.get.sae(small).inverse_transform(small.obsm["omp"])
    scale = small.X.std(0) if standardize == "zscore" else 1.0
    expected = np.square((small.X - x_hat) / scale).sum() / np.square((small.X - small.X.mean(0)) / scale).sum()
    metrics = small.uns["omp"]["metrics"]
    assert metrics["fvu"] == pytest.approx(expected, rel=1e-3)
    assert metrics["amortisation_gap"] > 0


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_l0_target_and_round_trip(suffix, trained, tmp_path):
    result = sae.tl.sae_transform(trained, trained, inference="fista", l0_target=4, copy=True, show_progress_bar=False)
    assert result.uns["sae"]["metrics"]["l0"] == pytest.approx(4, rel=0.02)
    assert "amortisation_gap" not in result.uns["sae"]["metrics"]
    path = tmp_path / f"a.{suffix}"
    (result.write_h5ad if suffix == "h5ad" else result.write_zarr)(path)
    back = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    assert back.uns["sae"]["params"]["penalty"] == result.uns["sae"]["params"]["penalty"]
    assert back.uns["sae"]["metrics"] == result.uns["sae"]["metrics"]


def test_bad_input_leaves_the_data_alone(trained):
    before = trained.obsm["X_sae"].copy()
    with pytest.raises(ValueError, match="`inference`.*'lasso'"):
        sae.tl.sae_transform(trained, trained, inference="lasso")
    with pytest.raises(ValueError, match="`l0_target` needs `inference='fista'`"):
        sae.tl.sae_transform(trained, trained, l0_target=3)
    for wrong in (0, -1, 33, float("nan")):
        with pytest.raises(ValueError, match="`l0_target` must be"):
            sae.tl.sae_transform(trained, trained, inference="fista", l0_target=wrong)
    assert abs(trained.obsm["X_sae"] - before).nnz == 0
    assert trained.uns["sae"]["params"]["inference"] == "encoder"


def test_warns_when_codes_cannot_be_that_dense(trained):
    with pytest.warns(ConvergenceWarning, match="No penalty gives 32 active features per row; the closest is"):
        sae.tl.sae_transform(trained, trained, inference="omp", l0_target=32, show_progress_bar=False)
