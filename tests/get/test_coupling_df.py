from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import saescape as sae


@pytest.fixture
def coupled():
    """Three cells on four, with a coupling written by hand."""
    plan = np.array([[0.2, 0.1, 0.0, 0.0], [0.0, 0.3, 0.1, 0.0], [0.0, 0.0, 0.0, 0.3]], dtype=np.float32)
    adata, adata_ref = ad.AnnData(np.ones((3, 1))), ad.AnnData(np.ones((4, 1)))
    adata.obs["kind"] = pd.Categorical(["a", "a", "b"], categories=["a", "b", "c"])
    adata_ref.obs["type"] = pd.Categorical(["x", "y", "y", "x"])
    adata.obsm["gw_coupling"] = sparse.csr_matrix(plan)
    adata.uns["gw_map"] = {"ref_names": np.asarray(adata_ref.obs_names, dtype=str), "gw_loss": 0.5, "pvalue": 0.25}
    adata.uns["gw_map"]["ambiguous"] = True
    return adata, adata_ref


def test_mass_between_groups(coupled):
    df = sae.get.coupling_df(*coupled, "kind", "type", normalize=False)
    expected = pd.DataFrame([[0.2, 0.5], [0.3, 0.0], [0.0, 0.0]], index=["a", "b", "c"], columns=["x", "y"])
    np.testing.assert_allclose(df.loc[expected.index, expected.columns], expected, atol=1e-6)
    shares = sae.get.coupling_df(*coupled, "kind", "type")
    np.testing.assert_allclose(shares.loc["a"], [2 / 7, 5 / 7], rtol=1e-5)
    np.testing.assert_allclose(shares.loc["c"], [0, 0])


def test_order_of_the_reference_does_not_matter(coupled):
    adata, adata_ref = coupled
    pd.testing.assert_frame_equal(
        sae.get.coupling_df(adata, adata_ref[[2, 0, 3, 1]].copy(), "kind", "type"),
        sae.get.coupling_df(adata, adata_ref, "kind", "type"),
    )


def test_after_a_round_trip_through_zarr(coupled, tmp_path):
    adata, adata_ref = coupled
    adata.write_zarr(tmp_path / "adata.zarr")
    pd.testing.assert_frame_equal(
        sae.get.coupling_df(ad.read_zarr(tmp_path / "adata.zarr"), adata_ref, "kind", "type"),
        sae.get.coupling_df(adata, adata_ref, "kind", "type"),
    )


def test_cells_without_label_are_left_out(coupled):
    adata, adata_ref = coupled
    adata.obs["kind"] = pd.Categorical(["a", None, "b"])
    df = sae.get.coupling_df(adata, adata_ref, "kind", "type", normalize=False)
    np.testing.assert_allclose(df.loc["a"], [0.2, 0.1], atol=1e-6)
    assert df.to_numpy().sum() == pytest.approx(0.6)


def test_bad_input(coupled):
    adata, adata_ref = coupled
    with pytest.raises(KeyError, match=r"'cluster' not found in `adata_ref.obs`.*'type'"):
        sae.get.coupling_df(adata, adata_ref, "kind", "cluster")
    with pytest.raises(KeyError, match="'cluster' not found in `adata.obs`"):
        sae.get.coupling_df(adata, adata_ref, "cluster", "type")
    with pytest.raises(ValueError, match="2 are missing"):
        sae.get.coupling_df(adata, adata_ref[:2].copy(), "kind", "type")
    with pytest.raises(KeyError, match="`key='other'`"):
        sae.get.coupling_df(adata, adata_ref, "kind", "type", key="other")
    del adata.uns["gw_map"]
    with pytest.raises(KeyError, match="gw_map"):
        sae.get.coupling_df(adata, adata_ref, "kind", "type")
