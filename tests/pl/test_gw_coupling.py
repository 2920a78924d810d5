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


def test_known_labels_groups_without_mass_and_names_that_are_no_formulas(coupled):
    adata, adata_ref = coupled
    adata.obs["kind"] = pd.Categorical(["$a$", "$a$"], categories=["$a$", "b"])
    adata_ref.obs["kind"] = adata_ref.obs["type"]
    row = {"balanced_accuracy": 0.75, "accuracy": 0.7, "chance": 0.5, "pvalue": 0.01}
    adata.uns["gw_map"]["label_accuracy"] = pd.DataFrame([row], index=["kind"])
    ax = sae.pl.gw_coupling(adata, adata_ref, "kind", "kind", show=False)
    assert "balanced accuracy 0.75 (chance 0.50, p = 0.01)" in ax.get_title()
    np.testing.assert_array_equal(np.ma.getmaskarray(ax.images[0].get_array()), [[False] * 2, [True] * 2])
    assert len(ax.texts) == 2
    assert not ax.get_yticklabels()[0].get_parse_math()
    # the accuracy is that of these labels only
    assert "accuracy" not in sae.pl.gw_coupling(adata, adata_ref, "kind", "type", show=False).get_title()


def test_many_groups_stay_within_a_page(coupled):
    adata, adata_ref = (ad.AnnData(np.ones((40, 1))) for _ in range(2))
    adata.uns["gw_map"] = coupled[0].uns["gw_map"]
    for side in (adata, adata_ref):
        side.obs["many"] = pd.Categorical([f"a rather long name {i}" for i in range(40)])
    adata.obsm["gw_coupling"] = sparse.identity(40, format="csr") / 40
    adata.uns["gw_map"]["ref_names"] = np.asarray(adata_ref.obs_names, dtype=str)
    ax = sae.pl.gw_coupling(adata, adata_ref, "many", "many", show=False)
    assert max(ax.figure.get_size_inches()) <= 11
    assert not ax.texts
    ax.figure.canvas.draw()
    heights = [label.get_window_extent().height for label in ax.get_yticklabels()]
    assert max(heights) < 1.3 * ax.get_window_extent().height / 40
