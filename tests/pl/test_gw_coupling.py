from __future__ import annotations

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import saescape as sae


@pytest.fixture
def coupled():
    plan = np.array([[0.4, 0.1], [0.0, 0.5]], dtype=np.float32)
    adata, adata_ref = ad.AnnData(np.ones((2, 1))), ad.AnnData(np.ones((2, 1)))
    adata.obs["kind"] = pd.Categorical(["a", "b"])
    adata_ref.obs["type"] = pd.Categorical(["x", "y"])
    adata.obsm["gw_coupling"] = sparse.csr_matrix(plan)
    adata.uns["gw_map"] = {
        "ref_names": np.asarray(adata_ref.obs_names, dtype=str),
        "gw_loss": 0.5,
        "pvalue": 0.25,
        "ambiguous": True,
    }
    return adata, adata_ref


def test_heat_map_and_title(coupled):
    ax = sae.pl.gw_coupling(*coupled, "kind", "type", show=False)
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.8, 0.2], [0, 1]], atol=1e-6)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y"]
    assert "p = 0.25" in ax.get_title()
    assert "ambiguous" in ax.get_title()
    assert sorted(text.get_text() for text in ax.texts) == ["0.00", "0.20", "0.80", "1.00"]


def test_verdicts_of_the_title(coupled):
    adata, adata_ref = coupled
    adata.uns["gw_map"] |= {"pvalue": float("nan"), "ambiguous": False}
    _, given = plt.subplots()
    ax = sae.pl.gw_coupling(adata, adata_ref, "kind", "type", ax=given, show=False)
    assert ax is given
    assert "not tested" in ax.get_title()
    assert "ambiguous" not in ax.get_title()


def test_missing_coupling(coupled):
    adata, adata_ref = coupled
    del adata.uns["gw_map"]
    with pytest.raises(KeyError, match=r"sae\.tl\.gw_map"):
        sae.pl.gw_coupling(adata, adata_ref, "kind", "type")
