from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from matplotlib.colors import to_hex
from scipy import sparse

import saescape as sae

KWARGS = {"show": False}


@pytest.fixture
def fitted():
    """Features 0 and 1 fire more in mutants, feature 2 in wild types; six donors, three of each genotype."""
    rng = np.random.default_rng(0)
    donor = np.arange(600) % 6
    rate = np.full((600, 12), 0.3)
    rate[:, :2] = np.where(donor < 3, 0.7, 0.1)[:, None]
    rate[:, 2] = np.where(donor < 3, 0.1, 0.7)
    codes = rng.gamma(3, 1 / 3, rate.shape) * (rng.random(rate.shape) < rate)
    adata = sc.AnnData(np.zeros((600, 3), dtype=np.float32))
    adata.obs["donor"] = pd.Categorical([f"d{i}" for i in donor])
    adata.obs["genotype"] = pd.Categorical(np.where(donor < 3, "mutant", "wild type"))
    adata.obsm["X_sae"] = sparse.csr_matrix(codes.astype(np.float32))
    adata.uns["sae"] = {"features": pd.DataFrame(index=[f"sae_{i}" for i in range(12)])}
    return adata


def colors_of(ax):
    found = {}
    for points in ax.collections:
        color = to_hex(points.get_facecolor()[0])
        found[color] = found.get(color, 0) + len(points.get_offsets())
    return found


def test_features_are_tested_like_genes(fitted):
    fdata = sae.get.features(fitted)
    sc.pp.log1p(fdata)
    sc.tl.rank_genes_groups(fdata, "genotype", method="wilcoxon")
    ax = sae.pl.volcano(fdata, "mutant", n_labels=3, **KWARGS)
    assert ax.get_title() == "mutant vs. rest"
    assert {text.get_text() for text in ax.texts} == {"sae_0", "sae_1", "sae_2"}
    df = sc.get.rank_genes_groups_df(fdata, "mutant").set_index("names")
    raw = fitted.obsm["X_sae"].toarray()
    mutant = (fitted.obs["genotype"] == "mutant").to_numpy()
    ratio = np.log2(raw[mutant].mean(0) / raw[~mutant].mean(0))
    # of log1p data: a ratio of geometric means, close to that of means, and with its sign
    assert np.sign(df.loc["sae_0", "logfoldchanges"]) == np.sign(ratio[0]) == 1
    assert abs(df.loc["sae_2", "logfoldchanges"] - ratio[2]) < 0.5


def test_pseudobulk_takes_donors_as_replicates(fitted):
    bulk = sc.get.aggregate(sae.get.features(fitted), by=["donor", "genotype"], func="mean")
    bulk.X = bulk.layers["mean"]
    assert bulk.n_obs == 6
    sc.pp.log1p(bulk)
    sc.tl.rank_genes_groups(bulk, "genotype", groups=["mutant"], reference="wild type", method="t-test")
    ax = sae.pl.volcano(bulk, **KWARGS)
    assert ax.get_title() == "mutant vs. wild type"
    assert {"sae_0", "sae_1", "sae_2"} <= {text.get_text() for text in ax.texts}
    counts = colors_of(ax)
    assert sum(counts.values()) == 12
    assert counts[to_hex("#b2182b")] >= 2
    assert counts[to_hex("#2166ac")] >= 1


def test_pvalues_of_zero_thresholds_and_names(fitted):
    fdata = sae.get.features(fitted)
    fdata.var_names = ["$x_1$", "<b>", *fdata.var_names[2:]]
    sc.pp.log1p(fdata)
    sc.tl.rank_genes_groups(fdata, "genotype", method="t-test", key_added="de")
    fdata.uns["de"]["pvals_adj"]["mutant"][0] = 0.0
    own = plt.figure().subplots()
    ax = sae.pl.volcano(fdata, "mutant", key="de", min_lfc=0.5, n_labels=1, ax=own, **KWARGS)
    assert ax is own
    heights = [points.get_offsets()[:, 1] for points in ax.collections]
    assert np.isfinite(np.concatenate(heights)).all()
    assert len(ax.texts) == 1
    assert len(ax.lines) == 3
    plt.gcf().canvas.draw()
    assert sae.pl.volcano(fdata, "mutant", key="de", n_labels=0, **KWARGS).texts[:] == []


def test_bad_input(fitted):
    fdata = sae.get.features(fitted)
    with pytest.raises(KeyError, match="rank_genes_groups"):
        sae.pl.volcano(fdata, **KWARGS)
    sc.pp.log1p(fdata)
    sc.tl.rank_genes_groups(fdata, "donor", method="t-test")
    with pytest.raises(ValueError, match="`group` must be one of those tested.*give one"):
        sae.pl.volcano(fdata, **KWARGS)
    with pytest.raises(ValueError, match="found 'd9'"):
        sae.pl.volcano(fdata, "d9", **KWARGS)
    fdata.uns["other"] = {"a": 1}
    with pytest.raises(ValueError, match="is no result"):
        sae.pl.volcano(fdata, key="other", **KWARGS)
    del fdata.uns["rank_genes_groups"]["pvals_adj"]
    with pytest.raises(ValueError, match="has no"):
        sae.pl.volcano(fdata, "d0", **KWARGS)
