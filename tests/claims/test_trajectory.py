"""T10: pseudotime on decoded codes follows time where the pooled embedding has lost it."""

from __future__ import annotations

import anndata as ad
import numpy as np
import scanpy as sc
from scipy.stats import spearmanr

import saescape as sae


def cascade(n_obs=300, n_positions=64, n_dims=16, n_concepts=64, n_timed=26):
    """Tokens of cells along a time, in which the first concepts peak one after the other."""
    rng = np.random.default_rng(0)
    time = rng.random(n_obs)
    rates = rng.gamma(0.5, 2.0, (n_obs, n_concepts))
    rates[:, :n_timed] *= np.exp(-0.5 * ((time[:, None] - np.linspace(0, 1, n_timed)) / 0.1) ** 2)
    rates *= 0.03 / rates.mean(0)
    shape = (n_obs, n_positions, n_concepts)
    strength = (rng.random(shape) < rates[:, None]) * rng.gamma(3.0, 1 / 3, shape)
    directions = rng.standard_normal((n_concepts, n_dims))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    tokens = strength @ directions + 0.02 * rng.standard_normal((*shape[:2], n_dims))
    adata = ad.AnnData(tokens.mean(1).astype(np.float32))
    adata.obsm["tokens"], adata.obsm["concepts"] = tokens.astype(np.float32), strength.mean(1)
    return adata, time, directions


def with_directions(directions):
    """A model that has learned them, and codes by matching pursuit."""
    m, d = directions.shape
    model = ad.AnnData(np.zeros((1, 1), dtype=np.float32))
    model.uns["sae"] = {
        "format": 1,
        "params": {
            "architecture": "topk",
            "k": 4,
            "use_rep": "tokens",
            "inference": "omp",
            "penalty": 0.1,
            "n_atoms": 12,
        },
        "weights": {"W_enc": directions.T, "W_dec": directions, "b_enc": np.zeros(m), "b_dec": np.zeros(d)},
        "input_names": np.array([f"tokens_{i}" for i in range(d)], dtype=object),
    }
    return model


def agreement(rep, time):
    adata = ad.AnnData(np.asarray(rep, dtype=np.float32))
    sc.pp.pca(adata, n_comps=10)
    sc.pp.neighbors(adata, n_neighbors=15, method="gauss")
    sc.tl.diffmap(adata)
    adata.uns["iroot"] = int(time.argmin())
    sc.tl.dpt(adata)
    return spearmanr(adata.obs["dpt_pseudotime"], time).statistic


def test_pseudotime_follows_time():
    adata, time, directions = cascade()
    sae.tl.sae_transform(adata, with_directions(directions), show_progress_bar=False)
    assert agreement(adata.obsm["concepts"], time) > 0.9
    decoded = agreement(adata.obsm["X_sae"].toarray(), time)
    assert decoded > 0.9
    assert decoded > agreement(adata.X, time) + 0.1
