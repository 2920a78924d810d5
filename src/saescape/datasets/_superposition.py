from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._keys import TOKENS
from saescape._random import as_generator, rng_param
from saescape._validate import check_integer, check_real

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray, Rng

_CLUSTER_SIZE = 4
_BLOCK_ENTRIES = 2**22


@doc_params
def superposition(
    n_obs: int = 500,
    *,
    n_positions: int = 64,
    n_dims: int = 32,
    n_concepts: int = 64,
    density: float = 0.03,
    noise: float = 0.02,
    coherence: float = 0.0,
    rng: Rng = 0,
) -> ad.AnnData:
    r"""Simulate cells whose positions hold sparse concepts in superposition, with the truth.

    A position (token) of cell `c` is :math:`x = \sum_k s_k W_k + \varepsilon`. Concept `k` is present with probability
    :math:`r_{ck}`, and then :math:`s_k` is Gamma(3) with mean 1. The rates differ between cells: `density` times a
    Gamma(1/2) variable with mean 1, at most 1. The pooled representation :math:`h = \bar s W + \bar\varepsilon`
    distorts distances between cells unless the concepts are orthogonal.

    Parameters
    ----------
    n_obs
        Cells.
    n_positions
        Positions (tokens) of a cell.
    n_dims
        Dimensions `d` of the representation.
    n_concepts
        Concepts `m`. Up to `n_dims` of them can be orthogonal; with more they are in superposition.
    density
        Mean probability that a concept is present at a position.
    noise
        Standard deviation of Gaussian noise on each dimension of a position.
    coherence
        Cosine (approximately) of concepts that belong to one cluster of four, in [0, 1). With 0, directions are
        orthonormal when ``n_concepts <= n_dims`` and independent and uniform otherwise.
    {rng}

    Returns
    -------
    AnnData with

    `.X` : :class:`numpy.ndarray` (dtype `float32`)
        Pooled representation `(n_obs, n_dims)`.
    `.obsm['tokens']` : :class:`numpy.ndarray` (dtype `float32`)
        Positions `(n_obs, n_positions, n_dims)`.
    `.obsm['concepts']` : :class:`numpy.ndarray` (dtype `float32`)
        True mean activation of each concept `(n_obs, n_concepts)`.
    `.uns['truth']` : :class:`dict`
        `dictionary` `(n_concepts, n_dims)`, `cluster` of each concept, `l0` (mean concepts per position) and `params`.

    Raises
    ------
    ValueError
        For sizes below 1 and for `density`, `noise` or `coherence` out of range.

    Examples
    --------
    >>> import saescape as sae
    >>> adata = sae.datasets.superposition(100, n_positions=16, n_dims=16, n_concepts=32)
    >>> adata.obsm["tokens"].shape, adata.obsm["concepts"].shape
    ((100, 16, 16), (100, 32))
    """
    sizes = {"n_obs": n_obs, "n_positions": n_positions, "n_dims": n_dims, "n_concepts": n_concepts}
    for name, value in sizes.items():
        check_integer(name, value)
    check_real("density", density, 0.0, 1.0)
    check_real("noise", noise, open_low=False)
    check_real("coherence", coherence, open_low=False)
    if coherence >= 1:
        msg = f"`coherence` must be at least 0 and less than 1, found {coherence:g}."
        raise ValueError(msg)
    seed = rng_param(rng)
    generator = as_generator(rng)
    dictionary, cluster = _dictionary(n_concepts, n_dims, coherence, generator)

    tokens = np.empty((n_obs, n_positions, n_dims), dtype=np.float32)
    concepts = np.empty((n_obs, n_concepts), dtype=np.float32)
    n_present = 0
    size = max(1, _BLOCK_ENTRIES // (n_positions * n_concepts))
    for start in range(0, n_obs, size):
        stop = min(start + size, n_obs)
        rates = np.minimum(density * generator.gamma(0.5, 2.0, (stop - start, 1, n_concepts)), 1.0)
        shape = (stop - start, n_positions, n_concepts)
        present = generator.random(shape) < rates
        strength = np.zeros(shape)
        strength[present] = generator.gamma(3.0, 1 / 3, int(present.sum()))
        block = strength @ dictionary + noise * generator.standard_normal((*shape[:2], n_dims))
        tokens[start:stop] = block
        concepts[start:stop] = strength.mean(1)
        n_present += int(present.sum())

    adata = ad.AnnData(
        tokens.mean(1, dtype=np.float64).astype(np.float32),
        obs=pd.DataFrame(index=[f"cell_{i}" for i in range(n_obs)]),
        var=pd.DataFrame(index=[f"dim_{i}" for i in range(n_dims)]),
    )
    adata.obsm[TOKENS] = tokens
    adata.obsm["concepts"] = concepts
    adata.uns["truth"] = {
        "dictionary": dictionary.astype(np.float32),
        "cluster": cluster,
        "l0": n_present / (n_obs * n_positions),
        "params": {
            **{name: int(value) for name, value in sizes.items()},
            "density": float(density),
            "noise": float(noise),
            "coherence": float(coherence),
            "rng": seed,
            "version": version("saescape"),
        },
    }
    return adata


def _dictionary(m: int, d: int, coherence: float, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Unit rows, orthonormal if they can be, drawn towards the common direction of their cluster."""
    rows = rng.standard_normal((m, d))
    if m <= d:
        rows = np.linalg.qr(rows.T)[0].T
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cluster = np.arange(m) // _CLUSTER_SIZE
    if coherence > 0:
        centres = rng.standard_normal((int(cluster[-1]) + 1, d))
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        rows = np.sqrt(1 - coherence) * rows + np.sqrt(coherence) * centres[cluster]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, cluster
