"""T1 and T2: pooled embeddings lose distances when, and only when, there are more concepts than dimensions."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

import saescape as sae


def kept(n_concepts, seed, density=0.03):
    """kNN recall of true neighbours by the pooled embedding, and rank correlation of distances."""
    adata = sae.datasets.superposition(200, n_dims=16, n_concepts=n_concepts, density=density, rng=seed)
    rho = spearmanr(pdist(adata.obsm["concepts"]), pdist(adata.X)).statistic
    return sae.metrics.knn_recall(adata.obsm["concepts"], adata.X, k=15), rho


def test_nothing_is_lost_by_orthonormal_concepts():
    found = np.array([kept(m, seed) for m in (8, 16) for seed in range(3)])
    assert found[:, 0].mean() > 0.9
    assert found[:, 1].min() > 0.98


def test_the_more_concepts_the_more_is_lost():
    # paired by seed
    found = np.array([[kept(16 * ratio, seed) for ratio in (1, 2, 4)] for seed in range(4)])
    assert (np.diff(found, axis=1) < 0).all()
    assert found[:, 1:, 0].max() < 0.7
