from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import saescape as sae
from saescape._warnings import SignificanceWarning


@pytest.fixture
def coupled():
    rng = np.random.default_rng(0)
    plan = sparse.random(12, 9, 0.6, format="csr", dtype=np.float32, random_state=0)
    adata = ad.AnnData(rng.normal(size=(12, 2)).astype(np.float32))
    adata.obs["area"] = rng.random(12)
    adata.obsm["spatial"] = rng.random((12, 2))
    adata.obsm["gw_coupling"] = plan / plan.sum()
    adata_ref = ad.AnnData(sparse.random(9, 15, 0.5, format="csr", dtype=np.float32, random_state=1))
    adata_ref.var_names = [f"gene{i}" for i in range(15)]
    adata_ref.var["chromosome"] = "1"
    adata_ref.layers["counts"] = 2 * adata_ref.X
    adata_ref.uns["log1p"] = {"base": 2.0}
    adata.uns["log1p"] = {"base": 10.0}
    adata.uns["gw_map"] = {"ref_names": np.asarray(adata_ref.obs_names, dtype=str), "gw_loss": 0.5, "pvalue": 0.04}
    adata.uns["gw_map"]["ambiguous"] = False
    return adata, adata_ref


def test_values_and_record(coupled):
    adata, adata_ref = coupled
    plan = adata.obsm["gw_coupling"].toarray()
    expected = plan @ adata_ref.X.toarray() / plan.sum(1, keepdims=True)
    result = sae.get.gw_expression(adata, adata_ref)
    np.testing.assert_allclose(result.X, expected, rtol=1e-4, atol=1e-6)
    assert result.X.dtype == np.float32
    pd.testing.assert_frame_equal(result.obs, adata.obs)
    assert list(result.var) == ["chromosome", "transferred"]
    assert result.var["transferred"].all()
    assert set(result.obsm) == {"spatial"}
    assert result.uns["log1p"] == {"base": 2.0}
    assert result.uns["gw_transfer"]["transferred"] is True
    assert result.uns["gw_transfer"]["pvalue"] == 0.04
    assert "transferred" not in adata_ref.var
    assert "gw_transfer" not in adata.uns

    few = sae.get.gw_expression(adata, adata_ref[::-1], ["gene3", "gene1"], layer="counts")
    assert list(few.var_names) == ["gene3", "gene1"]
    np.testing.assert_allclose(few.X, 2 * expected[:, [3, 1]], rtol=1e-4, atol=1e-6)
    assert "log1p" not in few.uns
    assert few.uns["gw_transfer"]["params"]["layer"] == "counts"
    # the same as the tool writes
    sae.tl.gw_transfer(adata, adata_ref, var_names=["gene3", "gene1"], layer="counts")
    np.testing.assert_allclose(adata.obsm["gw_expression"], few.X, rtol=1e-5, atol=1e-6)


def test_nothing_is_shared(coupled):
    adata, adata_ref = coupled
    result = sae.get.gw_expression(adata, adata_ref, "gene1")
    result.obs["area"] = 0.0
    result.obsm["spatial"][:] = 0
    result.uns["gw_map"]["pvalue"] = 1.0
    assert adata.obs["area"].min() > 0
    assert adata.obsm["spatial"].max() > 0
    assert adata.uns["gw_map"]["pvalue"] == 0.04


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_round_trip_and_a_part_of_the_cells(coupled, tmp_path, kind):
    adata, adata_ref = coupled
    result = sae.get.gw_expression(adata[3:8], adata_ref)
    np.testing.assert_allclose(result.X, sae.get.gw_expression(adata, adata_ref).X[3:8], rtol=1e-6)
    getattr(result, f"write_{kind}")(tmp_path / "a")
    back = getattr(ad, f"read_{kind}")(tmp_path / "a")
    np.testing.assert_array_equal(back.X, result.X)
    assert back.uns["gw_transfer"]["transferred"]
    assert back.var["transferred"].all()


def test_backed_reference(coupled, tmp_path):
    adata, adata_ref = coupled
    adata_ref.write_h5ad(tmp_path / "ref.h5ad")
    backed = ad.read_h5ad(tmp_path / "ref.h5ad", backed="r")
    result = sae.get.gw_expression(adata, backed, ["gene4"])
    np.testing.assert_array_equal(result.X, sae.get.gw_expression(adata, adata_ref, ["gene4"]).X)
    backed.file.close()


def test_doubts_and_bad_input(coupled):
    adata, adata_ref = coupled
    with pytest.raises(KeyError, match="near: gene1"):
        sae.get.gw_expression(adata, adata_ref, ["GENE1"])
    with pytest.raises(ValueError, match="names no gene"):
        sae.get.gw_expression(adata, adata_ref, [])
    with pytest.raises(ValueError, match="1 are missing"):
        sae.get.gw_expression(adata, adata_ref[1:])
    adata_ref.var_names = ["gene1", *adata_ref.var_names[1:]]
    with pytest.raises(ValueError, match="var_names_make_unique"):
        sae.get.gw_expression(adata, adata_ref)
    adata.uns["gw_map"]["ambiguous"] = True
    with pytest.warns(SignificanceWarning, match="another optimum") as caught:
        sae.get.gw_expression(adata, adata_ref, "gene2")
    assert caught[0].filename == __file__


def test_raw_and_symbols(coupled):
    adata, adata_ref = coupled
    raw = ad.AnnData(sparse.random(9, 20, 0.5, format="csr", dtype=np.float32, random_state=3), obs=adata_ref.obs)
    raw.var_names = [f"ENSG{i}" for i in range(20)]
    raw.var["symbol"] = [f"S{i}" for i in range(20)]
    adata_ref.raw = raw
    plan = adata.obsm["gw_coupling"].toarray()
    expected = plan @ raw.X.toarray() / plan.sum(1, keepdims=True)
    result = sae.get.gw_expression(adata, adata_ref, use_raw=True)
    assert list(result.var_names) == list(raw.var_names)
    np.testing.assert_allclose(result.X, expected, rtol=1e-4, atol=1e-6)
    assert result.uns["log1p"] == {"base": 2.0}
    assert result.uns["gw_transfer"]["params"]["use_raw"] is True
    few = sae.get.gw_expression(adata, adata_ref, ["S12", "S3"], use_raw=True, gene_symbols="symbol")
    assert list(few.var_names) == ["ENSG12", "ENSG3"]
    assert list(few.var["symbol"]) == ["S12", "S3"]
    np.testing.assert_allclose(few.X, expected[:, [12, 3]], rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="`gene_symbols='symbol'` needs `var_names`"):
        sae.get.gw_expression(adata, adata_ref, use_raw=True, gene_symbols="symbol")
    with pytest.raises(KeyError, match=r"not found in `adata_ref.raw.var_names`: 'gene1'"):
        sae.get.gw_expression(adata, adata_ref, "gene1", use_raw=True)
    with pytest.raises(KeyError, match=r"`gene_symbols='chromosome'`.*adata_ref.raw.var.*symbol"):
        sae.get.gw_expression(adata, adata_ref, "1", use_raw=True, gene_symbols="chromosome")


def test_what_labels_say_goes_along(coupled):
    adata, adata_ref = coupled
    adata.uns["gw_map"]["label_accuracy"] = pd.DataFrame({"pvalue": [0.01]}, index=["cell_type"])
    result = sae.get.gw_expression(adata, adata_ref)
    assert result.uns["gw_transfer"]["label_accuracy"].loc["cell_type", "pvalue"] == 0.01
