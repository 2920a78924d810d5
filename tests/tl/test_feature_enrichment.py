from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

import saescape as sae
from saescape._warnings import SignificanceWarning

from .planted_features import DEAD, MODULE, N_FEATURES, nothing, planted

COLUMNS = [
    "feature",
    "gene_set",
    "n_overlap",
    "n_set",
    "n_genes",
    "odds_ratio",
    "pvalue",
    "qvalue",
    "unspecific",
    "genes",
]


def modules(adata):
    names = adata.var_names
    return {f"set_{i}": names[MODULE * i : MODULE * (i + 1)].tolist() for i in range(N_FEATURES)}


@pytest.fixture(scope="module")
def _annotated():
    adata = planted()
    sae.tl.feature_genes(adata, batch_key="donor")
    return adata


@pytest.fixture
def annotated(_annotated):
    return _annotated.copy()


def test_planted_sets_come_first_and_pvalues_are_exact(annotated):
    sae.tl.feature_enrichment(annotated, modules(annotated))
    results = annotated.uns["sae_enrichment"]["results"]
    assert list(results.columns) == COLUMNS
    assert annotated.uns["sae_enrichment"]["n_tests"] == (N_FEATURES - 1) * N_FEATURES
    table = annotated.uns["sae"]["features"]
    assert table["gene_set"].tolist() == [f"set_{i}" for i in range(N_FEATURES - 1)] + [""]
    assert np.isnan(table.loc[f"sae_{DEAD}", "gene_set_qvalue"])
    genes = annotated.uns["sae_genes"]["results"]
    for row in results.itertuples():
        up = genes[(genes["feature"] == row.feature) & (genes["qvalue"] <= 0.05) & (genes["effect"] > 0)]
        shared = set(up["gene"].astype(str)) & set(modules(annotated)[row.gene_set])
        assert row.n_genes == len(up)
        assert row.n_overlap == len(shared) == len(row.genes.split(","))
        expected = hypergeom.sf(len(shared) - 1, annotated.n_vars, row.n_set, len(up))
        assert row.pvalue == pytest.approx(expected)
    assert not results["unspecific"].any()


def test_shuffled_sets_are_not_found(annotated):
    rng = np.random.default_rng(0)
    net = {f"random_{i}": rng.choice(annotated.var_names, 20, replace=False) for i in range(100)}
    sae.tl.feature_enrichment(annotated, net)
    assert (annotated.uns["sae"]["features"]["gene_set"] != "").mean() <= 0.05


def test_pvalues_are_not_too_small_for_random_sets(annotated):
    rng = np.random.default_rng(1)
    net = {f"random_{i}": rng.choice(annotated.var_names, 60, replace=False) for i in range(60)}
    sae.tl.feature_enrichment(annotated, net, n_top=None)
    entry = annotated.uns["sae_enrichment"]
    # discrete: at most the nominal rate; p-values of a one-sided test reach up to 1
    assert (entry["results"]["pvalue"] < 0.05).sum() / entry["n_tests"] < 0.08
    assert entry["results"]["pvalue"].max() > 0.9


def test_nothing_is_tested_where_no_gene_is_significant():
    adata = nothing(400, 5, seed=4)
    sae.tl.feature_genes(adata, batch_key="donor")
    assert (adata.uns["sae_genes"]["results"]["qvalue"] > 0.05).all()
    with pytest.warns(SignificanceWarning, match="No feature has a significant gene"):
        sae.tl.feature_enrichment(adata, {"s": adata.var_names[:10]})
    assert len(adata.uns["sae_enrichment"]["results"]) == 0
    assert (adata.uns["sae"]["features"]["gene_set"] == "").all()


def test_sets_of_correlated_genes_are_not_found_for_codes_permuted_within_donors():
    n_forced = 0
    for seed in range(4):
        adata = planted(600, 6, seed=seed)
        rng = np.random.default_rng(seed)
        order = np.arange(adata.n_obs)
        for donor in adata.obs["donor"].cat.categories:
            rows = np.flatnonzero(adata.obs["donor"] == donor)
            order[rows] = rng.permutation(rows)
        adata.obsm["X_sae"] = adata.obsm["X_sae"][order]
        sae.tl.feature_genes(adata, batch_key="donor", min_cells=5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SignificanceWarning)
            sae.tl.feature_enrichment(adata, modules(adata))
            assert (adata.uns["sae"]["features"]["gene_set"] == "").all()
            sae.tl.feature_enrichment(adata, modules(adata), n_genes=20)
        n_forced += (adata.uns["sae"]["features"]["gene_set"] != "").sum()
    # what the warning about genes that need not be significant is for
    assert n_forced > 10


def test_sets_of_many_features_are_unspecific_and_named_last(annotated):
    net = modules(annotated)
    # the first gene of each module: shared by all features, but by each only once; halves of six modules hit six
    net["everywhere"] = [gene for i in range(6) for gene in net[f"set_{i}"][:9]]
    sae.tl.feature_enrichment(annotated, net)
    results = annotated.uns["sae_enrichment"]["results"]
    assert set(results.loc[results["unspecific"], "gene_set"]) == {"everywhere"}
    assert not annotated.uns["sae"]["features"]["gene_set"].isin(["everywhere"]).any()


def test_other_forms_of_nets_weights_sizes_and_universe(annotated, tmp_path):
    net = modules(annotated)
    path = tmp_path / "net.gmt"
    path.write_text("".join(f"{name}\tna\t" + "\t".join(genes) + "\n" for name, genes in net.items()))
    table = pd.DataFrame([(name, gene) for name, genes in net.items() for gene in genes], columns=["source", "target"])
    down = pd.DataFrame({"source": "set_0", "target": annotated.var_names[100:140], "weight": -1.0})
    weighted = pd.concat([table.assign(weight=1.0), down])
    found = []
    for form in (net, path, str(path), table, weighted):
        sae.tl.feature_enrichment(annotated, form)
        found.append(annotated.uns["sae_enrichment"]["results"])
    for other in found[1:]:
        pd.testing.assert_frame_equal(other, found[0])
    sae.tl.feature_enrichment(annotated, net, universe=annotated.var_names[:120].tolist(), n_top=1)
    entry = annotated.uns["sae_enrichment"]
    assert entry["params"]["n_universe"] == 120
    assert set(entry["results"]["gene_set"]) <= {f"set_{i}" for i in range(12)}
    assert entry["results"].groupby("feature", observed=True).size().max() == 1


def test_genes_that_are_not_significant_are_warned_about(annotated):
    with pytest.warns(SignificanceWarning, match="`n_genes=10`"):
        sae.tl.feature_enrichment(annotated, modules(annotated), n_genes=10)
    assert (annotated.uns["sae_enrichment"]["results"]["n_genes"] == 10).all()
    annotated.varm["sae_decoder"] = np.random.default_rng(0).normal(size=(annotated.n_vars, N_FEATURES))
    sae.tl.feature_genes(annotated, model=True)
    with pytest.warns(SignificanceWarning, match="not tested"):
        sae.tl.feature_enrichment(annotated, modules(annotated))
    assert annotated.uns["sae_enrichment"]["params"]["source"] == "model"


def test_bad_input(annotated):
    net = modules(annotated)
    with pytest.raises(ValueError, match=r"none of its 3 genes is among the 240.*\['GENE_1', 'GENE_2', 'GENE_3'\]"):
        sae.tl.feature_enrichment(annotated, {"s": ["GENE_1", "GENE_2", "GENE_3"]})
    with pytest.raises(ValueError, match="between `min_size` \\(11\\)"):
        sae.tl.feature_enrichment(annotated, net, min_size=11)
    with pytest.raises(ValueError, match="`universe` has none"):
        sae.tl.feature_enrichment(annotated, net, universe=["ENSG1"])
    with pytest.raises(FileNotFoundError, match="there is no file"):
        sae.tl.feature_enrichment(annotated, "missing.gmt")
    assert "sae_enrichment" not in annotated.uns
    fresh = planted(100, 4)
    with pytest.raises(KeyError, match="feature_genes"):
        sae.tl.feature_enrichment(fresh, net)
    fresh.obsm["K"], fresh.uns["K"] = fresh.obsm["X_sae"], fresh.uns["sae"]
    with pytest.raises(KeyError, match=r"feature_genes\(adata, ..., key='K'\)"):
        sae.tl.feature_enrichment(fresh, net, key="K")
    # a model that was fitted again has a new table of features
    annotated.uns["sae"] = fresh.uns["sae"]
    with pytest.raises(ValueError, match="older than the model"):
        sae.tl.feature_enrichment(annotated, net)
