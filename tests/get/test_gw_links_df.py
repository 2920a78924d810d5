from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import saescape as sae


@pytest.fixture
def adata():
    """Links as the tool stores them, made by hand."""
    z = np.array([[3.0, -4.0, 1.0], [0.5, np.nan, -2.0]], np.float32)
    p = np.array([[0.01, 0.001, 0.3], [0.6, np.nan, 0.01]], np.float32)
    entry = {
        "correlation": z / 5,
        "null_mean": np.zeros_like(z),
        "null_sd": np.full_like(z, 0.2),
        "zscore": z,
        "pvalue": p,
        "qvalue": 2 * p,
        "features": np.array(["sae_0", "sae_3"]),
        "genes": pd.DataFrame({"module": pd.Categorical(["module_0", "module_1", None])}, index=["A", "B", "C"]),
    }
    return ad.AnnData(np.zeros((4, 1), np.float32), uns={"gw_links": entry, "mine": {**entry, "pvalue": p[:1]}})


def test_all_links_come_by_pvalue_and_then_by_zscore(adata):
    df = sae.get.gw_links_df(adata)
    assert df.columns.tolist() == [
        "feature",
        "gene",
        "correlation",
        "null_mean",
        "null_sd",
        "zscore",
        "pvalue",
        "qvalue",
        "module",
    ]
    pairs = list(zip(df["feature"], df["gene"], strict=True))
    assert pairs == [
        ("sae_0", "B"),
        ("sae_0", "A"),
        ("sae_3", "C"),
        ("sae_0", "C"),
        ("sae_3", "A"),
        ("sae_3", "B"),
    ]
    np.testing.assert_allclose(df["zscore"], [-4, 3, -2, 1, 0.5, np.nan])
    assert df["module"].isna().tolist() == [False, False, True, True, False, False]
    assert df["module"].tolist()[:2] == ["module_1", "module_0"]


def test_selection(adata):
    assert sae.get.gw_links_df(adata, features="sae_3", genes=["C", "A"])["gene"].tolist() == ["C", "A"]
    assert len(sae.get.gw_links_df(adata, max_qvalue=0.05)) == 3
    assert len(sae.get.gw_links_df(adata, max_qvalue=0)) == 0
    assert sae.get.gw_links_df(adata, n_top=1)["gene"].tolist() == ["B"]


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"key": "other"}, KeyError, "other"),
        ({"key": "mine"}, ValueError, "has shape \\(1, 3\\)"),
        ({"features": "sae_9"}, KeyError, "`features`: 1 of 1 have no links, such as 'sae_9'"),
        ({"genes": ["A", "Z"]}, KeyError, "`genes`: 1 of 2"),
        ({"max_qvalue": 2}, ValueError, "`max_qvalue`"),
        ({"n_top": 0}, ValueError, "`n_top`"),
    ],
)
def test_bad_input(adata, kwargs, error, message):
    with pytest.raises(error, match=message):
        sae.get.gw_links_df(adata, **kwargs)


def test_other_entries_are_no_links(adata):
    adata.uns["gw_links"] = {"params": {}}
    with pytest.raises(KeyError, match="holds no links; run"):
        sae.get.gw_links_df(adata)
