"""Simulated cells, fits with default settings, and how well a representation keeps the true distances."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import anndata as ad
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

import saescape as sae

if TYPE_CHECKING:
    from pathlib import Path

N_OBS, N_DIMS, K = 500, 32, 15
DESIGN = {"n_conditions": 2, "n_lines": 12, "n_plates": 6, "n_wells": 4}


def cells(n_concepts: int, seed: int, **options) -> ad.AnnData:
    return sae.datasets.superposition(N_OBS, n_dims=N_DIMS, n_concepts=n_concepts, rng=seed, **options)


#: with `--fits`, where fits are kept between runs
KEPT: list[Path] = []


@cache
def fitted(n_concepts: int, seed: int, *, designed: bool = False) -> ad.AnnData:
    """Cells and a fit of their tokens with every argument at its default; shared by the claims, so never changed.

    With `designed`, cells of two conditions on six plates, each of the 24 wells with a line of its own.
    """
    names = [folder / f"cells_{n_concepts}_{seed}{'_designed' * designed}.h5ad" for folder in KEPT]
    if names and names[0].exists():
        return ad.read_h5ad(names[0])
    adata = cells(n_concepts, seed, **(DESIGN if designed else {}))
    sae.tl.sae_fit(adata, use_rep="tokens", rng=seed, show_progress_bar=False)
    for name in names:
        adata.write_h5ad(name)
    return adata


def recall(adata: ad.AnnData, rep) -> float:
    """Share of the 15 nearest neighbours by true concepts that are found."""
    return sae.metrics.knn_recall(adata.obsm["concepts"], rep, k=K)


def distance_correlation(adata: ad.AnnData, rep) -> float:
    """Spearman correlation of all distances with those of true concepts."""
    rep = rep.toarray() if hasattr(rep, "toarray") else rep
    return float(spearmanr(pdist(adata.obsm["concepts"]), pdist(rep)).statistic)


def with_truth(adata: ad.AnnData) -> ad.AnnData:
    """The true codes and directions in the slots of a fit."""
    from scipy import sparse

    adata.obsm["X_sae"] = sparse.csr_matrix(adata.obsm["concepts"])
    adata.uns["sae"] = {
        "weights": {"W_dec": adata.uns["truth"]["dictionary"]},
        "params": {"use_rep": "tokens", "layer": None},
        "metrics": {"fvu": 0.0},
    }
    return adata


def score(adata: ad.AnnData) -> float:
    scored = sae.tl.superposition_score(adata, n_perms=1, n_pairs=20_000, n_refits=0, copy=True)
    return float(scored.uns["superposition_score"]["score"])
