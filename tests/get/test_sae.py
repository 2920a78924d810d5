from __future__ import annotations

import numpy as np
import pytest

import saescape as sae


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_estimator_does_what_the_fit_did(architecture, small):
    sae.tl.sae_fit(small, 32, k=2, architecture=architecture, max_epochs=10, show_progress_bar=False)
    model = sae.get.sae(small)
    assert abs(model.transform(small.X) - small.obsm["X_sae"]).nnz == 0
    assert model.metrics_["fvu"] == small.uns["sae"]["metrics"]["fvu"]
    assert model.get_params()["n_features"] == 32
    assert len(model.history_) == len(small.uns["sae"]["history"])
    model.W_dec_[:] = 0
    model.history_["loss"] = 0
    assert np.abs(small.uns["sae"]["weights"]["W_dec"]).sum() > 0
    assert small.uns["sae"]["history"]["loss"].sum() > 0


def test_bad_input(small):
    with pytest.raises(KeyError, match=r"Key 'sae' not found in `adata.uns`.*Run `sae.tl.sae_fit\(adata\)` first"):
        sae.get.sae(small)
    with pytest.raises(KeyError, match="`key='mine'`"):
        sae.get.sae(small, key="mine")
    small.uns["sae"] = {"a": 1}
    with pytest.raises(ValueError, match="is not a fitted sparse autoencoder"):
        sae.get.sae(small)
    with pytest.raises(TypeError, match="must be an AnnData"):
        sae.get.sae(small.X)
