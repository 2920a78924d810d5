"""Simulated pairs of images and RNA, their maps, and how well these agree with the truth."""

from __future__ import annotations

import numpy as np

import saescape as sae
from saescape import metrics

#: many programs: the distances of the two sides are distorted least
MANY = {"n_programs": 192, "n_dims": 192, "n_genes": 2000}


def pair(n: int, seed: int, **options):
    return sae.datasets.paired(n, n, rng=1000 + seed, **options)


def mapped(adata, adata_ref, **options) -> None:
    """`gw_map` with every argument at its default, but without its test."""
    options = {"obs": "cell_type", "use_rep": "X_image", "n_nulls": 0, "device": "cpu", **options}
    sae.tl.gw_map(adata, adata_ref, show_progress_bar=False, **options)


def foscttm(adata, adata_ref) -> float:
    """Of the cells that have a partner, in the space of the reference."""
    has = np.flatnonzero(adata.obs["partner"].astype(str) != "none")
    partner = adata_ref.obs_names.get_indexer(adata.obs["partner"].astype(str).iloc[has])
    return metrics.foscttm(adata.obsm["X_gw"][has], adata_ref.obsm["X_pca"][partner])


def accuracy(adata, cells=slice(None)) -> float:
    """Balanced accuracy of the transferred types."""
    obs = adata.obs[cells]
    return metrics.label_transfer_accuracy(obs["cell_type"].astype(str), obs["gw_cell_type"].astype(str))


def module_auroc(adata, adata_ref, plan=None) -> float:
    """Do the genes of a program stand out by their correlation with it? Mean over the programs that vary.

    Programs of the image side, expression through the row-conditional plan.
    """
    plan = adata.obsm["gw_coupling"].toarray() if plan is None else plan
    expression = _standardised(plan / plan.sum(1, keepdims=True) @ adata_ref.X.toarray())
    programs = adata.obsm["programs"]
    correlation = _standardised(programs).T @ expression / len(programs)
    module = adata_ref.var["program"].astype(str).to_numpy()
    varying = np.flatnonzero(programs.std(0) > 0)
    return float(np.mean([_auroc(module == f"program_{k}", correlation[k]) for k in varying]))


def true_neighbors(adata, adata_ref, k: int = 10) -> np.ndarray:
    """Plan that the best map could have: each cell with the nearest reference cells by the true programs."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=k).fit(adata_ref.obsm["programs"])
    near = index.kneighbors(adata.obsm["programs"], return_distance=False)
    plan = np.zeros((adata.n_obs, adata_ref.n_obs))
    np.put_along_axis(plan, near, 1.0, 1)
    return plan


def _auroc(is_member: np.ndarray, value: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(is_member, value))


def _standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(0)) / np.maximum(values.std(0), 1e-12)
