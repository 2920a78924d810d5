"""What default settings have to reach on data whose truth is known."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import saescape as sae
from saescape.metrics import knn_recall


@pytest.mark.slow
@pytest.mark.parametrize(("n_concepts", "recall", "gain"), [(32, 0.9, 0.0), (64, 0.85, 0.25), (128, 0.65, 0.25)])
def test_neighbours_of_cells_in_superposition(n_concepts, recall, gain):
    adata = sae.datasets.superposition(300, n_dims=32, n_concepts=n_concepts)
    sae.tl.sae_fit(adata, use_rep="tokens", show_progress_bar=False)
    found = knn_recall(adata.obsm["concepts"], adata.obsm["X_sae"], k=15)
    assert found > recall
    assert found > knn_recall(adata.obsm["concepts"], adata.X, k=15) + gain


def planted(n_concepts, l0, seed, n=10_000, d=64):
    rng = np.random.default_rng(seed)
    dictionary = rng.normal(size=(n_concepts, d))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    codes = (rng.random((n, n_concepts)) < l0 / n_concepts) * (0.5 + rng.exponential(0.5, (n, n_concepts)))
    x = codes @ dictionary
    x += np.sqrt(0.05) * x.std(0).mean() * rng.normal(size=x.shape)
    return x.astype(np.float32), dictionary


def matched_cosine(found, dictionary):
    """Mean over the best one-to-one matching."""
    cosine = (found / np.linalg.norm(found, axis=1, keepdims=True)) @ dictionary.T
    return cosine[linear_sum_assignment(-cosine)].mean()


@pytest.mark.parametrize(("n_concepts", "l0"), [(128, 6), (160, 8)])
def test_planted_dictionary_comes_back(n_concepts, l0):
    x, dictionary = planted(n_concepts, l0, seed=l0)
    adata = ad.AnnData(x)
    sae.tl.sae_fit(adata, show_progress_bar=False)
    found = adata.uns["sae"]["weights"]["W_dec"]
    assert sae.metrics.mmcs(found, dictionary) > 0.95
    assert matched_cosine(found, dictionary) > 0.9
    random = np.random.default_rng(99).normal(size=found.shape)
    assert sae.metrics.mmcs(random, dictionary) < 0.5
    assert matched_cosine(random, dictionary) < 0.5
    # about as many active features as there are
    assert l0 / 2 < adata.uns["sae"]["params"]["k"] < 2 * l0
