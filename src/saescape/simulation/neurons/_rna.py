"""RNA of cells whose concepts are known: each concept drives a module of genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from saescape.simulation._counts import log_normalized, negative_binomial_counts

if TYPE_CHECKING:
    from saescape._typing import FloatArray

MIN_MODULE = 10
_MAX_MODULE = 30
# what a module has without its concept, and how much an average cell's concept adds to that
_SILENT, _DRIVEN = 0.3, 0.7


def rna_of_concepts(
    activity: FloatArray, concept_names: list[str], n_genes: int, rng: np.random.Generator
) -> ad.AnnData:
    """Negative binomial counts `(n_obs, n_genes)` of cells with concepts `activity`, about 1 on average.

    The rate of a module's gene is linear in the activity of its concept; genes beyond the modules are not regulated.
    """
    n_obs, n_concepts = activity.shape
    largest = min(_MAX_MODULE, n_genes // n_concepts)
    size = rng.integers(MIN_MODULE, largest + 1, n_concepts)
    concept = np.repeat(np.arange(n_concepts), size)
    strength = rng.gamma(4.0, 0.25, len(concept))
    rate = np.tile(np.exp(rng.normal(-1.0, 0.7, n_genes)), (n_obs, 1))
    rate[:, : len(concept)] *= _SILENT + _DRIVEN * activity[:, concept] * strength
    counts = negative_binomial_counts(rate, rng).astype(np.float32)

    rna = ad.AnnData(log_normalized(counts))
    rna.layers["counts"] = sparse.csr_matrix(counts)
    rna.obs_names = [f"rna_{i}" for i in range(n_obs)]
    rna.var_names = [f"gene_{i}" for i in range(n_genes)]
    names = np.full(n_genes, "none", dtype=object)
    names[: len(concept)] = np.array(concept_names, dtype=object)[concept]
    rna.var["concept"] = pd.Categorical(names, categories=[*concept_names, "none"])
    return rna
