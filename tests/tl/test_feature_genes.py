from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import average_precision_score

import saescape as sae
from saescape._warnings import SignificanceWarning

from .planted_features import DEAD, MODULE, N_FEATURES, N_GENES, nothing, planted

COLUMNS = [
    "feature",
    "gene",
    "source",
    "effect",
    "standardized",
    "correlation",
    "mean_active",
    "mean_inactive",
    "n_groups",
    "pvalue",
    "qvalue",
]


@pytest.fixture(scope="module")
def _annotated():
    adata = planted()
    sae.tl.feature_genes(adata, batch_key="donor", n_top=None)
    return adata


@pytest.fixture
def annotated(_annotated):
    return _annotated.copy()


def test_planted_genes_come_first(annotated):
    results = annotated.uns["sae_genes"]["results"]
    assert list(results.columns) == COLUMNS
    assert list(annotated.uns["sae_genes"]["genes"]) == list(annotated.var_names)
    table = annotated.uns["sae"]["features"]
    for feature in range(N_FEATURES - 1):
        rows = results[results["feature"] == f"sae_{feature}"].set_index("gene")
        truth = np.zeros(N_GENES)
        truth[MODULE * feature : MODULE * (feature + 1)] = 1
        effect = rows["standardized"].reindex(annotated.var_names).to_numpy()
        assert average_precision_score(truth, effect) > 0.9
        planted_genes = set(annotated.var_names[truth > 0])
        assert set(table.loc[f"sae_{feature}", "top_genes"].split(",")) <= planted_genes
    assert table["n_genes"].drop(f"sae_{DEAD}").between(8, 30).all()
    # features that fire alone: as many genes as were planted
    assert table["n_genes_effective"].iloc[10:DEAD].between(9, 15).all()


def test_features_that_never_fire_are_kept_empty(annotated):
    rows = annotated.uns["sae_genes"]["results"].query(f"feature == 'sae_{DEAD}'")
    assert len(rows) == 1
    assert rows[["gene", "effect", "pvalue", "qvalue"]].isna().all(axis=None)
    assert annotated.uns["sae"]["features"].loc[f"sae_{DEAD}", "top_genes"] == ""


def test_false_discoveries_on_planted_data(annotated):
    results = annotated.uns["sae_genes"]["results"]
    hits = results[(results["qvalue"] <= 0.05) & results["feature"].isin([f"sae_{i}" for i in range(10, DEAD)])]
    gene = hits["gene"].astype(str).str.removeprefix("gene_").astype(int)
    feature = hits["feature"].astype(str).str.removeprefix("sae_").astype(int)
    assert len(hits) > 100
    assert np.mean(gene // MODULE != feature) < 0.1


@pytest.mark.parametrize("n_donors", [3, 8])
def test_donors_hold_the_nominal_rate_where_nothing_is_related(n_donors):
    rates, any_found = [], []
    for seed in range(12):
        adata = nothing(60 * n_donors, n_donors, seed=seed)
        sae.tl.feature_genes(adata, batch_key="donor", n_top=None, min_cells=4)
        results = adata.uns["sae_genes"]["results"]
        rates.append(np.mean(results["pvalue"].dropna() < 0.05))
        any_found.append((results["qvalue"] <= 0.05).any())
    assert 0.03 <= np.mean(rates) <= 0.08
    assert np.sum(any_found) <= 3


def test_cells_as_replicates_are_warned_about_and_anticonservative():
    adata = nothing(1200, 6, seed=0)
    with pytest.warns(SignificanceWarning, match="P-values rest on cells"):
        sae.tl.feature_genes(adata, n_top=None)
    assert np.mean(adata.uns["sae_genes"]["results"]["pvalue"] < 0.05) > 0.15


def test_two_groups_give_effect_sizes_only():
    adata = planted(300, 2)
    with pytest.warns(SignificanceWarning, match="sizes only"):
        sae.tl.feature_genes(adata, batch_key="donor")
    results = adata.uns["sae_genes"]["results"]
    assert results["pvalue"].isna().all()
    assert results["effect"].notna().any()
    assert adata.uns["sae"]["features"]["n_genes"].isna().all()


def test_loadings_of_the_model(pbmc):
    sae.tl.sae_fit(pbmc, 64, use_rep="X_pca", max_epochs=2, show_progress_bar=False)
    sae.tl.feature_genes(pbmc, model=True, n_top=3)
    results = pbmc.uns["sae_genes"]["results"]
    loadings = pbmc.varm["sae_decoder"][:, 7]
    rows = results[results["feature"] == "sae_7"]
    expected = np.argsort(-np.nan_to_num(np.abs(loadings)), kind="stable")[:3]
    assert rows["gene"].tolist() == pbmc.var_names[expected].tolist()
    np.testing.assert_allclose(rows["effect"], loadings[expected], rtol=1e-5)
    assert (results["source"] == "model").all()
    assert results["pvalue"].isna().all()
    # this file has no loadings of genes that are not highly variable
    assert set(pbmc.uns["sae_genes"]["genes"]) == set(pbmc.var_names[np.isfinite(loadings)])
    sae.tl.feature_genes(pbmc, model=True, genes=["CD79A", "NKG7"])
    assert set(pbmc.uns["sae_genes"]["genes"]) == {"CD79A", "NKG7"}


def test_twelve_equal_loadings_are_twelve_genes():
    adata = planted(200, 4)
    adata.varm["sae_decoder"] = np.zeros((N_GENES, N_FEATURES), dtype=np.float32)
    adata.varm["sae_decoder"][5:17, 3] = -0.5
    sae.tl.feature_genes(adata, model=True)
    assert adata.uns["sae"]["features"].loc["sae_3", "n_genes_effective"] == pytest.approx(12)
    assert len(adata.uns["sae_genes"]["genes"]) == 12


@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
def test_carried_over_expression_is_not_tested():
    adata, adata_ref = sae.datasets.paired(80, 70, n_types=2)
    sae.tl.gw_map(adata, adata_ref, use_rep="X_image", n_nulls=0, n_starts=2, show_progress_bar=False, device="cpu")
    sae.tl.gw_transfer(adata, adata_ref, var_names=["gene_0", "gene_1"])
    rng = np.random.default_rng(0)
    codes = rng.random((80, 4)) * (rng.random((80, 4)) < 0.5)
    adata.obsm["X_sae"] = sparse.csr_matrix(codes)
    table = pd.DataFrame(index=[f"sae_{i}" for i in range(4)])
    adata.uns["sae"] = {"weights": {"W_dec": np.eye(4)}, "features": table}
    with pytest.warns(SignificanceWarning, match="gw_links"):
        sae.tl.feature_genes(adata, adata_ref=adata_ref, genes=["gene_0", "gene_1"], min_cells=2)
    direct = adata.uns["sae_genes"]["results"]
    assert (direct["source"] == "transferred").all()
    assert direct["pvalue"].isna().all()
    assert adata.uns["sae_genes"]["params"]["origin"] == "adata_ref.X"
    sae.tl.feature_genes(adata, use_rep="gw_expression", min_cells=2)
    stored = adata.uns["sae_genes"]["results"]
    assert (stored["source"] == "transferred").all()
    pd.testing.assert_frame_equal(stored, direct)
    expression = sae.get.gw_expression(adata, adata_ref)
    expression.obsm["X_sae"] = adata.obsm["X_sae"]
    sae.tl.feature_genes(expression, min_cells=2)
    assert (expression.uns["sae_genes"]["results"]["source"] == "transferred").all()


def test_layer_raw_genes_and_tables_of_obsm(annotated):
    truth = annotated.uns["sae_genes"]["results"].query("gene == 'gene_5'").set_index("feature")["effect"]
    for prepare, kwargs in (
        (lambda a: a.layers.update(log=a.X.copy()), {"layer": "log"}),
        (lambda a: setattr(a, "raw", a.copy()), {"use_raw": True}),
        (lambda a: a.obsm.update(protein=a[:, :9].to_df()), {"use_rep": "protein"}),
    ):
        adata = annotated.copy()
        prepare(adata)
        adata.X = sparse.csr_matrix(adata.shape, dtype=np.float32)
        sae.tl.feature_genes(adata, batch_key="donor", genes=["gene_5"], **kwargs)
        results = adata.uns["sae_genes"]["results"].dropna().set_index("feature")
        np.testing.assert_allclose(results["effect"], truth.reindex(results.index), rtol=1e-4)
        assert (results["source"] == "measured").all()


def test_counts_are_warned_about():
    with pytest.warns(UserWarning, match="looks like counts"):
        sae.tl.feature_genes(planted(200, 4), batch_key="donor", layer="counts")


@pytest.mark.filterwarnings("ignore:Trying to modify attribute:anndata.ImplicitModificationWarning")
def test_views_and_files_give_the_same(annotated, tmp_path):
    path = tmp_path / "a.h5ad"
    annotated.write_h5ad(path)
    backed = ad.read_h5ad(path, backed="r")
    view = annotated[np.arange(annotated.n_obs)]
    expected = annotated.uns["sae_genes"]["results"]
    for adata in (backed, view):
        sae.tl.feature_genes(adata, batch_key="donor", n_top=None)
        found = adata.uns["sae_genes"]["results"]
        np.testing.assert_allclose(found["effect"], expected["effect"], rtol=1e-5)
        np.testing.assert_allclose(found["pvalue"], expected["pvalue"], rtol=1e-4)
    sae.tl.feature_concepts(backed, ["cell_type", "gene_3"], batch_key="donor", n_perms=19)
    backed.file.close()


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_round_trip_copies_and_explicit_keys(annotated, tmp_path, suffix):
    annotated.obsm["K/ß".replace("/", "_")] = annotated.obsm["X_sae"]
    annotated.uns["K_ß"] = annotated.uns["sae"]
    before = annotated.copy()
    other = sae.tl.feature_genes(annotated, key="K_ß", batch_key="donor", n_top=5, copy=True)
    assert set(other.uns) - set(before.uns) == {"K_ß_genes"}
    assert "K_ß_genes" not in annotated.uns
    path = tmp_path / f"a.{suffix}"
    (other.write_h5ad if suffix == "h5ad" else other.write_zarr)(path)
    read = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    assert read.uns["K_ß_genes"]["params"]["source"] == "measured"
    assert read.uns["K_ß_genes"]["results"]["gene"].astype(str).tolist() == (
        other.uns["K_ß_genes"]["results"]["gene"].astype(str).tolist()
    )
    sae.tl.feature_enrichment(read, {"s": other.var_names[:10]}, key="K_ß")


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"genes": ["gene_1", "TP53"]}, KeyError, "`genes`: 1 of 2 not found in `adata.var_names`"),
        ({"genes": []}, ValueError, "names no gene"),
        ({"layer": "logcounts"}, KeyError, "logcounts"),
        ({"use_raw": True}, ValueError, "`adata.raw` is empty"),
        ({"batch_key": "patient"}, KeyError, "`batch_key='patient'`"),
        ({"key": "other"}, KeyError, "other"),
        ({"model": True, "batch_key": "donor"}, ValueError, "exclude each other"),
        ({"model": True}, KeyError, "sae_decoder"),
        ({"use_rep": "X_sae"}, TypeError, "must be a table"),
        ({"use_rep": "X_sae", "layer": "counts"}, ValueError, "exclude each other"),
        ({"gw_key": "gw"}, ValueError, "needs `adata_ref`"),
        ({"min_cells": 1}, ValueError, "`min_cells`"),
        ({"n_top": 0}, ValueError, "`n_top`"),
    ],
)
def test_bad_input_leaves_the_data_alone(kwargs, error, match):
    adata = planted(100, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=match):
            sae.tl.feature_genes(adata, **kwargs)
    assert "sae_genes" not in adata.uns
    assert "top_genes" not in adata.uns["sae"]["features"]
