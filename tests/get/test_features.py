from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

import saescape as sae


@pytest.fixture
def fitted(small):
    sae.tl.sae_fit(small, 32, k=2, max_epochs=10, show_progress_bar=False)
    small.uns["log1p"] = {"base": None}
    small.uns["nested"] = {"a": np.zeros(2)}
    small.obsp["distances"] = sparse.eye(300, format="csr")
    return small


def test_codes_become_variables(fitted):
    result = sae.get.features(fitted)
    assert result.shape == (300, 32)
    assert type(result.X) is sparse.csr_matrix
    assert abs(result.X - fitted.obsm["X_sae"]).nnz == 0
    assert result.var_names[31] == "sae_31"
    assert "frac_active" in result.var
    assert set(result.obsm) == set(fitted.obsm)
    assert "distances" in result.obsp
    # describes the other X
    assert "log1p" not in result.uns
    assert "log1p" in fitted.uns


def test_nothing_is_shared(fitted):
    result = sae.get.features(fitted)
    result.X.data[:] = -1
    result.uns["nested"]["a"][:] = 5
    result.uns["sae"]["weights"]["W_dec"][:] = 0
    result.obsm["X_rep"][:] = 0
    result.obs["group"] = "x"
    result.var["dead"] = True
    assert fitted.obsm["X_sae"].min() >= 0
    assert fitted.uns["nested"]["a"].sum() == 0
    assert np.abs(fitted.uns["sae"]["weights"]["W_dec"]).sum() > 0
    assert fitted.obsm["X_rep"].any()
    assert set(fitted.obs["group"]) == {"a", "b"}


def test_scanpy_tools_run_on_it(fitted):
    result = sae.get.features(fitted)
    sc.tl.rank_genes_groups(result, "group", method="t-test")
    top = sc.get.rank_genes_groups_df(result, "a")
    assert top["names"].str.startswith("sae_").all()
    assert top["pvals_adj"].iloc[0] < 0.05


def test_bad_input(fitted):
    with pytest.raises(KeyError, match="`key='other'`"):
        sae.get.features(fitted, key="other")
    fitted.uns["X_rep"] = {}
    with pytest.raises(ValueError, match="is not a fitted sparse autoencoder"):
        sae.get.features(fitted, key="X_rep")
    fitted.obsm["X_sae"] = fitted.obsm["X_sae"][:, :5]
    with pytest.raises(ValueError, match="has 5 features, but their table has 32 rows"):
        sae.get.features(fitted)
    del fitted.obsm["X_sae"]
    with pytest.raises(KeyError, match="Run `sae.tl.sae_fit"):
        sae.get.features(fitted)
