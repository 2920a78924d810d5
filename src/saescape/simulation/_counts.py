"""Counts of a sequencing experiment from relative rates of genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

_DISPERSION = 0.3
_DEPTH_SD = 0.3
_COUNTS_PER_GENE = 4.0


def negative_binomial_counts(rate: FloatArray, rng: np.random.Generator) -> IntArray:
    """Counts `(n, n_genes)` of dispersion .3, and log-normal depth of about four counts per gene."""
    n, n_genes = rate.shape
    depth = rng.lognormal(np.log(_COUNTS_PER_GENE * n_genes), _DEPTH_SD, (n, 1))
    mean = rate / rate.sum(1, keepdims=True) * depth
    counts: IntArray = rng.poisson(mean * rng.gamma(1 / _DISPERSION, _DISPERSION, mean.shape))
    return counts


def log_normalized(counts: FloatArray) -> sparse.csr_matrix:
    """``log(1 + 10,000 c / sum c)`` of each cell."""
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    return sparse.csr_matrix(np.log1p(counts * (1e4 / total)))
