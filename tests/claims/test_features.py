"""T7 to T9: tests on features, whose cells are not independent of each other, and what features stand for."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import stats
from scipy.optimize import linear_sum_assignment


@pytest.fixture(scope="module")
def codes(fitted):
    """Activations in the order of the concepts, matched by direction."""
    learned, true = fitted.uns["sae"]["weights"]["W_dec"].copy(), fitted.uns["truth"]["dictionary"]
    if (used := fitted.uns["sae"]["params"]["used"]) is not None:
        # features that inference leaves out are no candidates
        learned[~used] = 0
    return fitted.obsm["X_sae"][:, linear_sum_assignment(-(true @ learned.T))[1]].toarray()


@pytest.fixture
def roles(fitted):
    return fitted.uns["truth"]["concepts"]["role"].to_numpy()


def by_well(codes, obs):
    return pd.DataFrame(codes).groupby(obs["well"].to_numpy()).mean()


def wilcoxon(values, first):
    adata = ad.AnnData(values, obs={"group": pd.Categorical(np.where(first, "a", "b"))})
    sc.tl.rank_genes_groups(adata, "group", groups=["a"], method="wilcoxon", tie_correct=True)
    return sc.get.rank_genes_groups_df(adata, "a").set_index("names").loc[adata.var_names, "pvals"].to_numpy()


def test_activation_of_a_feature_follows_its_concept(fitted, codes):
    concepts = fitted.obsm["concepts"]
    correlation = [np.corrcoef(codes[:, k], concepts[:, k])[0, 1] for k in range(codes.shape[1])]
    assert np.mean(correlation) > 0.9
    best = np.abs(np.corrcoef(fitted.X.T, concepts.T)[: fitted.n_vars, fitted.n_vars :]).max(0)
    assert np.mean(best) < 0.7


def test_purity_of_condition_concepts(fitted, codes, roles):
    condition = (fitted.obs["condition"] == "condition_0").to_numpy()
    purity = []
    for activation in (codes, fitted.obsm["concepts"]):
        mean = np.stack([activation[condition].mean(0), activation[~condition].mean(0)])[:, roles == "condition"]
        purity.append(mean.max(0) / mean.sum(0))
    assert np.abs(purity[0] - purity[1]).mean() < 0.05


def test_plate_effects_are_flagged_and_not_specific_to_a_condition(fitted, codes, roles):
    means = by_well(codes, fitted.obs)
    wells = fitted.obs.drop_duplicates("well").set_index("well").loc[means.index]
    groups = [means[(wells["plate"] == plate).to_numpy()] for plate in wells["plate"].unique()]
    flagged = stats.false_discovery_control(stats.f_oneway(*groups).pvalue) < 0.05
    assert flagged[roles == "plate"].mean() > 0.3
    assert flagged[roles == "private"].mean() < 0.1
    sides = means.groupby([wells["condition"].to_numpy(), wells["plate"].to_numpy()]).mean()
    pvalues = stats.ttest_rel(sides.xs("condition_0"), sides.xs("condition_1")).pvalue
    specific = stats.false_discovery_control(pvalues) < 0.05
    assert specific[roles == "condition"].any()
    assert not specific[roles == "plate"].any()


def test_differential_features_are_calibrated_when_wells_are_respected(fitted, codes, roles):
    codes = codes[:, roles == "plate"]
    wells, means = fitted.obs["well"].to_numpy(), by_well(codes, fitted.obs)
    cells_exchangeable, cells, well_means = [], [], []
    # the test on wells takes no time
    for draw in range(400):
        rng = np.random.default_rng(draw)
        feature = rng.integers(codes.shape[1])
        first = rng.permutation(len(means)) < len(means) // 2
        well_means.append(stats.ttest_ind(means.to_numpy()[first, feature], means.to_numpy()[~first, feature]).pvalue)
        if draw < 60:
            one = codes[:, [feature]]
            cells.append(wilcoxon(one, np.isin(wells, means.index[first]))[0])
            cells_exchangeable.append(wilcoxon(one, rng.permutation(len(one)) % 2 == 0)[0])
    assert stats.kstest(cells_exchangeable, "uniform").pvalue > 0.01
    assert stats.kstest(well_means, "uniform").pvalue > 0.01
    assert stats.binomtest(int(np.sum(np.array(cells) <= 0.05)), 60, 0.05, alternative="greater").pvalue < 0.01
