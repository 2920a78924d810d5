"""T3 and T4: decoding each position, and then pooling, is what brings neighbours back."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

import saescape as sae


def recall(adata, rep):
    return sae.metrics.knn_recall(adata.obsm["concepts"], rep, k=15)


def pooled_then_decoded(adata):
    averages = ad.AnnData(obsm={"pooled": adata.X})
    sae.tl.sae_transform(averages, adata, use_rep="pooled", show_progress_bar=False)
    return averages.obsm["X_sae"]


def random_relu(adata):
    rng, x = np.random.default_rng(99), adata.obsm["tokens"]
    width = adata.obsm["X_sae"].shape[1]
    pre = x @ rng.standard_normal((x.shape[2], width)) + x.std() * rng.standard_normal(width)
    return np.maximum(pre, 0).mean(1)


def vlad(adata):
    tokens = adata.obsm["tokens"]
    x = tokens.reshape(-1, tokens.shape[2])
    centres = KMeans(adata.obsm["X_sae"].shape[1] // x.shape[1], n_init=1, max_iter=20, random_state=0).fit(x[::3])
    own = centres.predict(x)
    residual = (own[:, None] == np.arange(centres.n_clusters))[:, :, None] * (x - centres.cluster_centers_[own])[
        :, None
    ]
    return residual.reshape(adata.n_obs, tokens.shape[1], -1).mean(1)


def test_recovers_directions_and_neighbours(fitted):
    directions = fitted.uns["sae"]["weights"]["W_dec"]
    truth = fitted.uns["truth"]["dictionary"]
    assert sae.metrics.mmcs(directions, truth) > 0.95
    assert sae.metrics.mmcs(np.random.default_rng(99).standard_normal(directions.shape), truth) < 0.8
    assert recall(fitted, fitted.obsm["X_sae"]) > recall(fitted, fitted.X) + 0.25


@pytest.mark.parametrize(
    "represent",
    [
        pooled_then_decoded,
        random_relu,
        vlad,
        lambda adata: PCA(whiten=True).fit_transform(adata.X),
        lambda adata: adata.X / np.linalg.norm(adata.X, axis=1, keepdims=True),
    ],
    ids=["pooled_then_decoded", "random_relu", "vlad", "whitened", "unit_length"],
)
def test_other_representations_do_not(represent, fitted):
    assert recall(fitted, fitted.obsm["X_sae"]) > recall(fitted, represent(fitted)) + 0.1
