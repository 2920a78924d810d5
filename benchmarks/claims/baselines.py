"""Representations of cells that need no sparse decoding, as wide as the dictionary of the fit where they can be."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

import saescape as sae

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

_SAMPLE = 10_000


def pooled(adata: ad.AnnData, seed: int) -> np.ndarray:
    return adata.X


def pooled_unit_length(adata: ad.AnnData, seed: int) -> np.ndarray:
    return adata.X / np.linalg.norm(adata.X, axis=1, keepdims=True)


def pooled_whitened(adata: ad.AnnData, seed: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    return PCA(whiten=True).fit_transform(adata.X)


def pooled_then_decoded(adata: ad.AnnData, seed: int) -> np.ndarray:
    """The fitted dictionary and rule of the tokens on the averages of tokens: the wrong order."""
    return sae.tl.sae_transform(_plain(adata, adata.X), adata, use_rep="rep", copy=True, show_progress_bar=False).obsm[
        "X_sae"
    ]


def linear_codes(adata: ad.AnnData, seed: int) -> np.ndarray:
    """The encoder of the fit without its nonlinearity, which commutes with the average."""
    weights = adata.uns["sae"]["weights"]
    return (adata.X - weights["b_dec"]) @ weights["W_enc"]


def random_relu(adata: ad.AnnData, seed: int) -> np.ndarray:
    # not the stream that drew the true directions
    rng = np.random.default_rng(10_000 + seed)
    n_features = _width(adata)
    x = _standardised_tokens(adata)
    directions = rng.standard_normal((x.shape[1], n_features)) / np.sqrt(x.shape[1])
    return _averaged(adata, np.maximum(x @ directions + 0.5 * rng.standard_normal(n_features), 0))


def kmeans_counts(adata: ad.AnnData, seed: int) -> np.ndarray:
    """How many tokens of a cell belong to each of as many centres."""
    distance = _distances(adata, _width(adata), seed)
    return _averaged(adata, distance.argmin(1)[:, None] == np.arange(distance.shape[1]))


def kmeans_triangle(adata: ad.AnnData, seed: int) -> np.ndarray:
    """By how much each centre is nearer than centres are on average (Coates, Lee and Ng 2011)."""
    distance = _distances(adata, _width(adata), seed)
    return _averaged(adata, np.maximum(distance.mean(1, keepdims=True) - distance, 0))


def vlad(adata: ad.AnnData, seed: int) -> np.ndarray:
    """Mean residual from each centre; as many centres as make that width."""
    x = _standardised_tokens(adata)
    n_centres = max(1, _width(adata) // x.shape[1])
    nearest = _kmeans(x, n_centres, seed)
    own = nearest.predict(x)
    residual = (own[:, None] == np.arange(n_centres))[:, :, None] * (x - nearest.cluster_centers_[own])[:, None]
    return _averaged(adata, residual.reshape(len(x), -1))


def nmf(adata: ad.AnnData, seed: int) -> np.ndarray:
    """Of tokens shifted to be non-negative."""
    from sklearn.decomposition import MiniBatchNMF

    x = adata.obsm["tokens"].reshape(-1, adata.n_vars)
    x = x - x.min(0)
    sample = np.random.default_rng(seed).permutation(len(x))[:_SAMPLE]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MiniBatchNMF(_width(adata), batch_size=1024, max_iter=5, random_state=seed).fit(x[sample])
        return _averaged(adata, model.transform(x))


def ica(adata: ad.AnnData, seed: int) -> np.ndarray:
    """Both signs of as many components as there are dimensions, which is all that it can find."""
    from sklearn.decomposition import FastICA

    x = adata.obsm["tokens"].reshape(-1, adata.n_vars)
    sample = np.random.default_rng(seed).permutation(len(x))[:_SAMPLE]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = FastICA(whiten="unit-variance", max_iter=100, random_state=seed).fit(x[sample]).transform(x)
    return _averaged(adata, np.hstack([np.maximum(found, 0), np.maximum(-found, 0)]))


BASELINES: dict[str, Callable[[ad.AnnData, int], np.ndarray]] = {
    "pooled": pooled,
    "pooled, unit length": pooled_unit_length,
    "pooled, PCA-whitened": pooled_whitened,
    "pooled, then decoded": pooled_then_decoded,
    "encoder without nonlinearity": linear_codes,
    "random ReLU of tokens": random_relu,
    "k-means counts of tokens": kmeans_counts,
    "k-means triangle of tokens": kmeans_triangle,
    "VLAD of tokens": vlad,
    "NMF of tokens": nmf,
    "ICA of tokens, both signs": ica,
}


def _plain(adata: ad.AnnData, rep: np.ndarray) -> ad.AnnData:
    import anndata

    return anndata.AnnData(obs=adata.obs[[]], obsm={"rep": rep})


def _width(adata: ad.AnnData) -> int:
    return adata.obsm["X_sae"].shape[1]


def _standardised_tokens(adata: ad.AnnData) -> np.ndarray:
    x = adata.obsm["tokens"].reshape(-1, adata.n_vars)
    return (x - x.mean(0)) / x.std()


def _averaged(adata: ad.AnnData, of_tokens: np.ndarray) -> np.ndarray:
    return of_tokens.reshape(adata.n_obs, -1, of_tokens.shape[1]).mean(1)


def _kmeans(x: np.ndarray, n_centres: int, seed: int):
    from sklearn.cluster import MiniBatchKMeans

    return MiniBatchKMeans(n_centres, n_init=1, batch_size=2048, max_iter=20, random_state=seed).fit(x)


def _distances(adata: ad.AnnData, n_centres: int, seed: int) -> np.ndarray:
    x = _standardised_tokens(adata)
    return _kmeans(x, n_centres, seed).transform(x)
