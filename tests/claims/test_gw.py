"""T11 to T15: what Gromov-Wasserstein maps of simulated pairs recover, and what their diagnostics say."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

import saescape as sae

MANY = {"n_programs": 96, "n_dims": 96, "n_genes": 1000}


def mapped(adata, adata_ref, **options):
    options = {"obs": "cell_type", "use_rep": "X_image", "n_nulls": 0, "device": "cpu", **options}
    with warnings.catch_warnings(action="ignore"):
        sae.tl.gw_map(adata, adata_ref, show_progress_bar=False, **options)
    return adata


def foscttm(adata, adata_ref):
    has = np.flatnonzero(adata.obs["partner"].astype(str) != "none")
    partner = adata_ref.obs_names.get_indexer(adata.obs["partner"].astype(str).iloc[has])
    return sae.metrics.foscttm(adata.obsm["X_gw"][has], adata_ref.obsm["X_pca"][partner])


def accuracy(adata, cells=slice(None)):
    obs = adata.obs[cells]
    return sae.metrics.label_transfer_accuracy(obs["cell_type"].astype(str), obs["gw_cell_type"].astype(str))


def program_auroc(adata, adata_ref):
    """Mean over the programs: do its genes stand out by their transported expression?"""
    plan = adata.obsm["gw_coupling"].toarray()
    genes = plan / plan.sum(1, keepdims=True) @ adata_ref.X.toarray()
    programs = adata.obsm["programs"]
    varying = np.flatnonzero(programs.std(0) > 0)
    programs = (programs[:, varying] - programs[:, varying].mean(0)) / programs[:, varying].std(0)
    correlation = programs.T @ (genes - genes.mean(0)) / genes.std(0).clip(min=1e-12)
    module = adata_ref.var["program"].astype(str).to_numpy()
    return np.mean([roc_auc_score(module == f"program_{k}", row) for k, row in zip(varying, correlation, strict=True)])


def test_related_sides_are_matched():
    pairs = [sae.datasets.paired(250, 250, n_types=4, rng=seed, **MANY) for seed in (0, 1, 3)]
    found = np.array([(foscttm(mapped(*p), p[1]), accuracy(p[0]), program_auroc(*p)) for p in pairs])
    assert np.median(found, 0)[0] < 0.1
    assert np.median(found, 0)[1] > 0.8
    assert np.median(found, 0)[2] > 0.75


def test_unrelated_sides_have_labels_at_chance_and_predictable_targets():
    """The R2 of what a map gives is high for unrelated sides; the map of a normal cloud has it too."""
    balanced, r2, null = [], [], []
    for seed in range(3):
        adata, adata_ref = sae.datasets.paired(150, 150, rho=0.0, rng=seed)
        balanced.append(accuracy(mapped(adata, adata_ref)))
        r2.append(predictability(adata))
        cloud = adata_ref.copy()
        rng = np.random.default_rng(seed)
        cloud.obsm["X_pca"] = (rng.normal(size=(150, 20)) * adata_ref.obsm["X_pca"].std(0)).astype(np.float32)
        null.append(predictability(mapped(adata, cloud, obs=None)))
    assert np.mean(balanced) < 0.5
    assert min(r2) > 0.7
    assert min(null) > 0.7


def predictability(adata):
    predicted = cross_val_predict(RidgeCV(np.logspace(-2, 3, 6)), adata.X, adata.obsm["X_gw"], cv=5)
    left = ((adata.obsm["X_gw"] - predicted) ** 2).sum()
    return 1 - left / ((adata.obsm["X_gw"] - adata.obsm["X_gw"].mean(0)) ** 2).sum()


def test_the_mirror_trap_is_ambiguous_and_both_optima_are_listed():
    adata, adata_ref = sae.datasets.paired(300, 300, n_types=4, mirror=True, rng=1)
    result = mapped(adata, adata_ref).uns["gw_map"]
    assert result["ambiguous"]
    near = result["optima"].query("loss <= loss.min() + 0.06")
    assert len(near) >= 2
    assert near["agreement"].min() < 0


@pytest.mark.parametrize("seed", [300, 301])
def test_cells_without_a_counterpart_are_distorted(seed):
    adata, adata_ref = sae.datasets.paired(250, 250, unmatched=0.1, rng=seed, **MANY)
    mapped(adata, adata_ref)
    unmatched = ~adata.obs["matched"].to_numpy()
    distorted = roc_auc_score(unmatched, adata.obs["gw_distortion"])
    assert distorted > 0.9
    assert distorted > roc_auc_score(unmatched, -adata.obs["gw_confidence"])
