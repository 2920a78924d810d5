"""The image side of simulated pairs: programs in superposition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._typing import FloatArray


def image_side(
    programs: FloatArray, n_dims: int, n_positions: int | None, noise: float, *, mirror: bool, rng: np.random.Generator
) -> AnnData:
    """Embedding `(n, n_dims)`, and tokens if `n_positions` is given, of cells with these `programs`."""
    n, n_programs = programs.shape
    dictionary = rng.normal(size=(n_programs, n_dims))
    if mirror:
        # partners are mirror images: the reflection exchanges them and keeps all distances
        half = n_programs // 2
        reflection = np.where(np.arange(n_dims) < n_dims // 2, 1.0, -1.0)
        dictionary[half:] = dictionary[:half] * reflection
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    scale = noise * float(np.sqrt((programs @ dictionary).var(0).mean()))
    tokens = None
    if n_positions is None:
        embedding = programs @ dictionary + scale * rng.normal(size=(n, n_dims))
    else:
        # a program is on in some tokens only, with the cell's activity as its mean
        on = rng.random((n, n_positions, n_programs)) < 0.15
        codes = on * rng.gamma(3.0, 1 / 3, on.shape) * programs[:, None] / 0.15
        tokens = codes @ dictionary + scale * np.sqrt(n_positions) * rng.normal(size=(n, n_positions, n_dims))
        embedding = tokens.mean(1)
    adata = ad.AnnData(embedding.astype(np.float32))
    adata.var_names = [f"image_{i}" for i in range(n_dims)]
    adata.obsm["X_image"] = adata.X.copy()
    if tokens is not None:
        adata.obsm["tokens"] = tokens.astype(np.float32)
    return adata
