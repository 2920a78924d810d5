"""Tests with wells as replicates, and the same with cells as replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

if TYPE_CHECKING:
    import anndata as ad


def well_means(codes: np.ndarray, obs: pd.DataFrame, *columns: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Mean of every feature in each well, and the labels of the wells."""
    means = pd.DataFrame(codes).groupby(obs["well"].to_numpy()).mean()
    labels = obs.drop_duplicates("well").set_index("well").loc[means.index, list(columns)]
    return means.to_numpy(), labels


def condition_pvalues(codes: np.ndarray, obs: pd.DataFrame) -> np.ndarray:
    """Of a difference between two conditions: paired by plate, t test of the differences of well means."""
    means, labels = well_means(codes, obs, "plate", "condition")
    sides = pd.DataFrame(means).groupby([labels["condition"].to_numpy(), labels["plate"].to_numpy()]).mean()
    first, second = (sides.xs(each).to_numpy() for each in sides.index.levels[0])
    return _one_where_nan(stats.ttest_rel(first, second).pvalue)


def plate_r2(codes: np.ndarray, obs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Share of the variance between wells that lies between plates, and its p-value (one-way analysis of variance)."""
    means, labels = well_means(codes, obs, "plate")
    groups = [means[(labels["plate"] == plate).to_numpy()] for plate in labels["plate"].unique()]
    between = sum(len(group) * (group.mean(0) - means.mean(0)) ** 2 for group in groups)
    total = ((means - means.mean(0)) ** 2).sum(0)
    r2 = np.divide(between, total, out=np.zeros_like(total), where=total > 0)
    return r2, _one_where_nan(stats.f_oneway(*groups).pvalue)


def cell_pvalues(adata: ad.AnnData, groupby: str, *, ties: bool = True) -> np.ndarray:
    """Scanpy's Wilcoxon test between two groups of cells, in the order of the variables."""
    import scanpy as sc

    group = str(adata.obs[groupby].astype("category").cat.categories[0])
    sc.tl.rank_genes_groups(adata, groupby, groups=[group], method="wilcoxon", tie_correct=ties)
    table = sc.get.rank_genes_groups_df(adata, group).set_index("names")
    return table.loc[adata.var_names, "pvals"].to_numpy()


def _one_where_nan(pvalues: np.ndarray) -> np.ndarray:
    """A feature that never varies differs between no groups."""
    return np.where(np.isnan(pvalues), 1.0, pvalues)
