from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import saescape as sae
from saescape._warnings import ConvergenceWarning, SignificanceWarning
from saescape.links import _refits

FAST = {"feature_key": "programs", "n_nulls": 5, "show_progress_bar": False, "device": "cpu"}
TABLES = ("correlation", "null_mean", "null_sd", "zscore", "pvalue", "qvalue")


def gw_links(adata, adata_ref, **kwargs):
    """The call under test, its warnings about significance aside (they have their own tests)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignificanceWarning)
        return sae.tl.gw_links(adata, adata_ref, **{**FAST, **kwargs})


@pytest.fixture(scope="module", autouse=True)
def _small_summaries():
    """Summaries of few points, to save time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_refits, "_CORESET_SIZE", 40)
        yield


@pytest.fixture(scope="module")
def _pair(_small_summaries):
    adata, adata_ref = sae.datasets.paired(120, 100, n_genes=300, rng=1)
    adata.obs["donor"] = [f"donor_{i % 4}" for i in range(120)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignificanceWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        sae.tl.gw_map(adata, adata_ref, use_rep="X_image", n_nulls=0, n_starts=3, show_progress_bar=False, device="cpu")
    return adata, adata_ref


@pytest.fixture
def pair(_pair):
    return _pair[0].copy(), _pair[1].copy()


@pytest.fixture(scope="module")
def linked(_pair):
    adata, adata_ref = _pair[0].copy(), _pair[1].copy()
    net = {str(name): list(part.index) for name, part in adata_ref.var.groupby("program", observed=True)}
    gw_links(adata, adata_ref, net=net, n_modules=3)
    return adata, adata_ref


def test_slots(linked):
    adata, adata_ref = linked
    entry = adata.uns["gw_links"]
    shape = (len(entry["features"]), 300)
    for table in TABLES:
        assert entry[table].shape == shape
        assert entry[table].dtype == np.float32
    assert entry["genes"].index.tolist() == adata_ref.var_names.tolist()
    assert 0 < entry["pvalue_global"] <= 1
    assert entry["null_global"].shape == (5,)
    assert entry["refit_agreement"] > 0.9
    known = np.isfinite(entry["zscore"])
    z = (entry["correlation"] - entry["null_mean"]) / entry["null_sd"]
    np.testing.assert_allclose(entry["zscore"][known], z[known], rtol=1e-3, atol=1e-3)
    p, q = entry["pvalue"][known], entry["qvalue"][known]
    assert p.min() > 0
    assert (q >= p - 1e-6).all()
    largest = np.abs(entry["correlation"]).max(0)
    np.testing.assert_allclose(entry["genes"]["max_abs_correlation"], largest, rtol=1e-5)


def test_correlations_are_those_of_transported_expression(linked):
    adata, adata_ref = linked
    entry = adata.uns["gw_links"]
    plan = adata.obsm["gw_coupling"].toarray().astype(float)
    carried = (plan / plan.sum(1, keepdims=True)) @ adata_ref.X.toarray()
    codes = adata.obsm["programs"][:, [int(name.removeprefix("programs_")) for name in entry["features"]]]
    n = codes.shape[1]
    with np.errstate(invalid="ignore"):
        expected = np.corrcoef(codes.T, carried.T)[:n, n:]
    np.testing.assert_allclose(entry["correlation"], expected, atol=2e-3)


@pytest.mark.filterwarnings("ignore:20 of 120 cells have no mass:UserWarning")
def test_the_right_coupling_ranks_planted_links_high(pair):
    from sklearn.metrics import roc_auc_score

    adata, adata_ref = pair
    place = adata_ref.obs_names.get_indexer(adata.obs["partner"].astype(str))
    rows = np.flatnonzero(place >= 0)
    truth = sparse.csr_matrix((np.full(100, 0.01), (rows, place[rows])), (120, 100))
    adata.obsm["gw_coupling"] = truth
    gw_links(adata, adata_ref)
    entry = adata.uns["gw_links"]
    program = adata_ref.var["program"].astype(str).to_numpy()
    planted = np.array([name.replace("programs", "program") == program for name in entry["features"]])
    known = np.isfinite(entry["zscore"])
    # 0.88: the noise of single cells and the programs that come together in a branch leave no more
    assert roc_auc_score(planted[known], entry["correlation"][known]) > 0.85


@pytest.mark.parametrize("seed", [3, 4])
def test_unrelated_data_have_no_significant_link(seed):
    adata, adata_ref = sae.datasets.paired(150, 150, n_genes=300, rho=0, rng=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sae.tl.gw_map(adata, adata_ref, use_rep="X_image", n_nulls=0, n_starts=3, show_progress_bar=False, device="cpu")
    gw_links(adata, adata_ref, n_nulls=20)
    entry = adata.uns["gw_links"]
    # correlations are high all the same
    assert np.nanmax(np.abs(entry["correlation"])) > 0.7
    assert not (entry["qvalue"] < 0.05).any()
    assert np.nanmean(entry["pvalue"] < 0.05) < 0.15
    assert entry["pvalue_global"] > 1 / 21


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.parametrize("batch_key", [None, "donor"])
@pytest.mark.filterwarnings("ignore:.*zarr v2:UserWarning")
def test_round_trip(form, batch_key, linked, tmp_path):
    adata = linked[0].copy()
    gw_links(adata, linked[1], batch_key=batch_key, genes=list(linked[1].var_names[:30]), net={"set": ["gene_0"]})
    path = tmp_path / f"links.{form}"
    getattr(adata, f"write_{form}")(path)
    back = ad.read_h5ad(path) if form == "h5ad" else ad.read_zarr(path)
    before, after = adata.uns["gw_links"], back.uns["gw_links"]
    assert set(before) == set(after)
    for table in TABLES:
        np.testing.assert_array_equal(before[table], after[table])
    expected, found = sae.get.gw_links_df(adata), sae.get.gw_links_df(back)
    assert found.columns.tolist() == expected.columns.tolist()
    assert found["gene"].astype(str).tolist() == expected["gene"].tolist()
    assert ("n_batches" in found) == (batch_key is not None)


def test_modules_and_gene_sets(pair):
    # so few refits and cells leave no link significant at the usual level
    adata, adata_ref = pair
    net = pd.DataFrame({"source": adata_ref.var["program"].astype(str), "target": adata_ref.var_names})
    gw_links(adata, adata_ref, net=net, n_modules=3, max_qvalue=1)
    entry = adata.uns["gw_links"]
    assert entry["modules"].index.tolist() == ["module_0", "module_1", "module_2"]
    counts = entry["genes"]["module"].value_counts()
    np.testing.assert_array_equal(entry["modules"]["n_genes"], counts[entry["modules"].index])
    top = entry["modules"].loc["module_0", "top_genes"].split(",")
    assert (entry["genes"].loc[top, "module"] == "module_0").all()
    assert set(entry["modules"].loc["module_0", "top_features"].split(",")) <= set(entry["features"])
    # genes of one program are linked to the same features
    best = entry["enrichment"].iloc[0]
    assert best["gene_set"].startswith("program_")
    assert best["qvalue"] < 0.05
    shared = best["genes"].split(",")
    assert (entry["genes"].loc[shared, "module"] == best["module"]).all()
    assert (adata_ref.var.loc[shared, "program"] == best["gene_set"]).all()


def test_without_significant_links_there_are_no_modules(linked):
    entry = linked[0].uns["gw_links"]
    assert not (entry["qvalue"] < 0.05).any()
    assert entry["genes"]["module"].isna().all()
    assert len(entry["modules"]) == len(entry["enrichment"]) == 0


def test_batches_are_the_unit(pair):
    adata, adata_ref = pair
    genes = list(adata_ref.var_names[:40])
    gw_links(adata, adata_ref, genes=genes)
    pooled = adata.uns["gw_links"]["correlation"]
    gw_links(adata, adata_ref, genes=genes, batch_key="donor")
    entry = adata.uns["gw_links"]
    assert entry["n_batches"].max() == 4
    known = np.isfinite(entry["correlation"]) & (entry["n_batches"] == 4)
    # donors were drawn at random: within donors, links are about the same
    assert np.corrcoef(pooled[known], entry["correlation"][known])[0, 1] > 0.9
    few = entry["n_batches"] < 3
    assert np.isnan(entry["pvalue"][few]).all()
    # a link that donors disagree on is not significant, however far it is from the refits
    unsure = known & (np.abs(entry["correlation"]) < 0.5 * entry["correlation_sd"] / 2)
    assert unsure.any()
    assert (entry["pvalue"][unsure] > 0.1).all()


def test_two_batches_give_effect_sizes_only(pair):
    adata, adata_ref = pair
    adata.obs["plate"] = np.arange(120) % 2
    with pytest.warns(SignificanceWarning) as caught:
        sae.tl.gw_links(adata, adata_ref, batch_key="plate", genes=list(adata_ref.var_names[:20]), **FAST)
    assert any("has 2 batches" in str(w.message) for w in caught)
    entry = adata.uns["gw_links"]
    assert np.isfinite(entry["correlation"]).any()
    assert np.isnan(entry["pvalue"]).all()
    assert np.isnan(entry["qvalue"]).all()


def test_no_nulls_no_pvalues(pair):
    adata, adata_ref = pair
    with pytest.warns(SignificanceWarning) as caught:
        sae.tl.gw_links(adata, adata_ref, **{**FAST, "n_nulls": 0}, genes=["gene_0", "gene_1"])
    assert any("Links were not tested" in str(w.message) for w in caught)
    entry = adata.uns["gw_links"]
    assert np.isnan(entry["zscore"]).all()
    assert np.isnan(entry["pvalue_global"])
    assert entry["genes"]["predictability"].notna().all()
    assert entry["genes"]["predictability_pvalue"].isna().all()


def test_features_of_a_sparse_autoencoder(pair):
    adata, adata_ref = pair
    sae.tl.sae_fit(adata, 32, use_rep="X_image", max_epochs=3, show_progress_bar=False)
    genes = ["gene_0", "gene_1"]
    gw_links(adata, adata_ref, feature_key="sae", genes=genes)
    entry = adata.uns["gw_links"]
    alive = np.asarray(adata.obsm["X_sae"].max(0).todense()).ravel() > 0
    assert entry["features"].tolist() == [f"sae_{i}" for i in np.flatnonzero(alive)]
    adata.obsm["table"] = pd.DataFrame({"round": adata.obsm["programs"][:, 0], "dead": 0.0}, index=adata.obs_names)
    gw_links(adata, adata_ref, feature_key="table", genes=genes, key_added="mine")
    assert adata.uns["mine"]["features"].tolist() == ["round"]


def test_genes_chosen(pair):
    adata, adata_ref = pair
    adata_ref.var["highly_variable"] = np.arange(300) < 20
    gw_links(adata, adata_ref)
    assert adata.uns["gw_links"]["genes"].index.tolist() == list(adata_ref.var_names[:20])
    adata_ref.layers["doubled"] = sparse.csr_matrix(adata_ref.X * 2)
    before = adata.uns["gw_links"]["correlation"]
    gw_links(adata, adata_ref, layer="doubled")
    np.testing.assert_allclose(adata.uns["gw_links"]["correlation"], before, atol=1e-4)


def test_deterministic_and_copy(pair):
    adata, adata_ref = pair
    keys = set(adata.uns)
    first = gw_links(adata, adata_ref, genes=["gene_0", "gene_1"], copy=True)
    assert set(adata.uns) == keys
    second = gw_links(adata, adata_ref[::-1].copy(), genes=["gene_0", "gene_1"], copy=True)
    for table in ("correlation", "null_mean"):
        assert first.uns["gw_links"][table].shape == second.uns["gw_links"][table].shape
    np.testing.assert_allclose(first.uns["gw_links"]["correlation"], second.uns["gw_links"]["correlation"], atol=1e-4)
    again = gw_links(adata, adata_ref, genes=["gene_0", "gene_1"], copy=True)
    for table in TABLES:
        np.testing.assert_array_equal(first.uns["gw_links"][table], again.uns["gw_links"][table])


def test_doubtful_couplings_and_weak_links_warn(pair):
    adata, adata_ref = pair
    with pytest.warns(SignificanceWarning) as caught:
        sae.tl.gw_links(adata, adata_ref, **FAST)
    messages = " ".join(str(w.message) for w in caught)
    assert "its significance was not tested" in messages
    # 5 refits cannot give a smaller p-value than 1 / 6
    assert "not stronger than those through couplings with unrelated arrangements" in messages


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"feature_key": "nope"}, KeyError, "`feature_key='nope'`"),
        ({"feature_key": "sae"}, KeyError, "sae.tl.sae_fit"),
        ({"genes": ["gene_0", "GENE_1"]}, KeyError, "`genes`: 1 of 2 not found .* \\(near: gene_1"),
        ({"genes": []}, ValueError, "`genes` names no gene"),
        ({"layer": "nope"}, KeyError, "`layer='nope'`"),
        ({"key": "nope"}, KeyError, "`key='nope'`"),
        ({"batch_key": "nope"}, KeyError, "`batch_key='nope'`"),
        ({"n_nulls": 3}, ValueError, "`n_nulls` must be 0 or at least 5, found 3"),
        ({"n_nulls": -1}, ValueError, "`n_nulls`"),
        ({"n_modules": 0}, ValueError, "`n_modules`"),
        ({"max_qvalue": 1.5}, ValueError, "`max_qvalue`"),
        ({"net": 3}, TypeError, "`net` must be the path"),
        ({"net": {"a": ["ENSG1"]}}, ValueError, "name them differently: \\['ENSG1'\\] and \\['gene_0'"),
    ],
)
def test_bad_input_changes_nothing(pair, kwargs, error, message):
    adata, adata_ref = pair
    keys = set(adata.uns)
    with pytest.raises(error, match=message):
        sae.tl.gw_links(adata, adata_ref, **{**FAST, **kwargs})
    assert set(adata.uns) == keys


def test_bad_data(pair):
    adata, adata_ref = pair
    adata.obs["donor"] = adata.obs["donor"].where(np.arange(120) > 2)
    with pytest.raises(ValueError, match="`batch_key='donor'` is missing for 3 observations"):
        sae.tl.gw_links(adata, adata_ref, batch_key="donor", **FAST)
    with pytest.raises(ValueError, match="must hold the 100 cells"):
        sae.tl.gw_links(adata, adata_ref[:50].copy(), **FAST)
    adata.obsm["flat"] = np.ones((120, 3), np.float32)
    with pytest.raises(ValueError, match="no feature that varies"):
        sae.tl.gw_links(adata, adata_ref, **{**FAST, "feature_key": "flat"})
    adata.obsm["flat"][0, 0] = np.nan
    with pytest.raises(ValueError, match="non-finite"):
        sae.tl.gw_links(adata, adata_ref, **{**FAST, "feature_key": "flat"})
    del adata_ref.obsm["X_pca"]
    with pytest.raises(KeyError, match="X_pca"):
        sae.tl.gw_links(adata, adata_ref, **FAST)
