"""The RNA side of simulated pairs: programs that drive modules of genes, and what measuring them does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from ._counts import log_normalized, negative_binomial_counts

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._typing import FloatArray

MODULE_SIZE = (10, 30)


@dataclass(frozen=True)
class Measurement:
    """How the RNA side departs from a clean measurement, and the generator of its own that draws it.

    `n_batches` batches with log offsets of SD `batch_effect` per gene, a share `dropout` of lost entries, and a
    `warp` (SD of the log exponents) of the shared activities.
    """

    n_batches: int
    batch_effect: float
    dropout: float
    warp: float
    rng: np.random.Generator


def rna_side(
    shared: FloatArray,
    private: FloatArray,
    n_genes: int,
    rho: float,
    measurement: Measurement,
    *,
    mirror: bool,
    rng: np.random.Generator,
) -> AnnData:
    """Counts `(n, n_genes)` of cells with these programs, with their logarithms and principal components."""
    n, n_programs = shared.shape
    half = n_programs // 2
    high = min(MODULE_SIZE[1], n_genes // n_programs)
    size = rng.integers(MODULE_SIZE[0], high + 1, n_programs)
    loading = rng.gamma(4.0, 0.25, (n_programs, high))
    private_of = rng.permutation(n_programs)
    if mirror:
        size[half:], loading[half:] = size[:half], loading[:half]
        private_of = np.arange(n_programs)
    program = np.repeat(np.arange(n_programs), size)
    strength = np.concatenate([loading[k, : size[k]] for k in range(n_programs)])
    # with `mirror` the genes of the second half of the programs are like those of the first
    first = int(size[:half].sum()) if mirror else 0
    baseline = rng.normal(-1.0, 0.7, n_genes)
    baseline[first : 2 * first] = baseline[:first]
    if measurement.warp:
        shared = _warped(shared, measurement.warp, mirror=mirror, rng=measurement.rng)
    # variances add up: a share rho of the variation is shared
    activity: FloatArray = np.sqrt(rho) * shared + np.sqrt(1 - rho) * private[:, private_of]
    # rates are linear in the activities: their logarithms saturate as measured ones do
    rate = np.tile(np.exp(baseline), (n, 1))
    rate[:, : len(program)] *= 0.1 + 3 * activity[:, program] * strength
    batch = offset = None
    if measurement.n_batches > 1:
        batch = measurement.rng.permutation(np.arange(n) % measurement.n_batches)
        offset = measurement.batch_effect * measurement.rng.standard_normal((measurement.n_batches, n_genes))
        offset[:, first : 2 * first] = offset[:, :first]
        rate *= np.exp(offset)[batch]
    counts = negative_binomial_counts(rate, rng).astype(np.float32)
    if measurement.dropout:
        counts[measurement.rng.random(counts.shape) < measurement.dropout] = 0

    adata = ad.AnnData(log_normalized(counts))
    adata.var_names = [f"gene_{i}" for i in range(n_genes)]
    names = np.full(n_genes, "none", dtype=object)
    names[: len(program)] = [f"program_{k}" for k in program]
    adata.var["program"] = pd.Categorical(names)
    adata.layers["counts"] = sparse.csr_matrix(counts)
    adata.obsm["X_pca"], adata.varm["PCs"] = _pca(adata.X.toarray(), min(20, n - 1))
    if batch is not None and offset is not None:
        adata.obs["batch"] = pd.Categorical.from_codes(batch, [f"batch_{i}" for i in range(measurement.n_batches)])
        adata.varm["batch_offset"] = offset.T.astype(np.float32)
    return adata


def _warped(programs: FloatArray, warp: float, *, mirror: bool, rng: np.random.Generator) -> FloatArray:
    """A power of each program (a monotone map, 0 stays 0), rescaled to the SD it had."""
    exponent = np.exp(warp * rng.standard_normal(programs.shape[1]))
    if mirror:
        half = len(exponent) // 2
        exponent[half:] = exponent[:half]
    warped = programs**exponent
    sd = warped.std(0)
    scaled: FloatArray = warped * np.where(sd > 0, programs.std(0) / np.where(sd > 0, sd, 1.0), 1.0)
    return scaled


def _pca(x: FloatArray, n_components: int) -> tuple[FloatArray, FloatArray]:
    """Scores and loadings, the largest loading of each component positive."""
    centred = x - x.mean(0)
    left, size, right = np.linalg.svd(centred, full_matrices=False)
    left, size, right = left[:, :n_components], size[:n_components], right[:n_components]
    sign = np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])
    return (left * size * sign).astype(np.float32), (right.T * sign).astype(np.float32)
