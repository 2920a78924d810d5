"""Cells whose genes, labels and plates follow planted features (G4), and worlds in which nothing does (G7)."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

N_FEATURES, N_GENES, MODULE = 24, 240, 10
# features 0..5 belong to cell types, 6 and 7 to the genotype, 8 and 9 to a plate; the last never fires
TYPES, GENOTYPE, PLATE, DEAD = (0, 1, 2, 3, 4, 5), (6, 7), (8, 9), N_FEATURES - 1


def planted(n_obs: int = 1200, n_donors: int = 8, *, donor_sd: float = 0.3, seed: int = 0) -> ad.AnnData:
    """Features drive modules of 10 genes; some fire in one cell type, genotype or plate.

    Donors shift all genes at random (SD `donor_sd`). Genotypes belong to donors; plates and types vary within.
    """
    rng = np.random.default_rng(seed)
    donor = np.arange(n_obs) % n_donors
    genotype, plate, cell_type = donor % 2, rng.integers(2, size=n_obs), rng.integers(6, size=n_obs)
    rate = np.full((n_obs, N_FEATURES), 0.15)
    for feature in TYPES:
        rate[:, feature] = np.where(cell_type == feature, 0.95, 0.01)
    for i, feature in enumerate(GENOTYPE):
        rate[:, feature] = np.where(genotype == i, 0.7, 0.1)
    for i, feature in enumerate(PLATE):
        rate[:, feature] = np.where(plate == i, 0.8, 0.02)
    rate[:, DEAD] = 0
    codes = rng.gamma(3, 1 / 3, rate.shape) * (rng.random(rate.shape) < rate)
    module = np.zeros((N_FEATURES, N_GENES))
    for feature in range(N_FEATURES):
        module[feature, MODULE * feature : MODULE * (feature + 1)] = 0.8
    log_mean = 0.5 + codes @ module + donor_sd * rng.standard_normal((n_donors, N_GENES))[donor]
    counts = rng.poisson(np.exp(log_mean))
    adata = wrapped(codes, np.log1p(counts))
    adata.layers["counts"] = sparse.csr_matrix(counts.astype(np.float32))
    adata.obs["donor"] = pd.Categorical([f"d{i}" for i in donor])
    adata.obs["genotype"] = pd.Categorical(np.where(genotype == 0, "wild type", "mutant"))
    adata.obs["plate"] = pd.Categorical([f"plate_{i}" for i in plate])
    adata.obs["cell_type"] = pd.Categorical([f"type_{i}" for i in cell_type])
    adata.obs["dose"] = codes[:, 10] + 0.3 * rng.standard_normal(n_obs)
    return adata


def wrapped(codes: np.ndarray, expression: np.ndarray) -> ad.AnnData:
    """Codes and expression as if `tl.sae_fit` had been run."""
    n_features, n_genes = codes.shape[1], expression.shape[1]
    adata = ad.AnnData(sparse.csr_matrix(expression.astype(np.float32)))
    adata.obs_names = [f"cell_{i}" for i in range(len(codes))]
    adata.var_names = [f"gene_{i}" for i in range(n_genes)]
    adata.obsm["X_sae"] = sparse.csr_matrix(codes.astype(np.float32))
    names = [f"sae_{i}" for i in range(n_features)]
    table = pd.DataFrame({"frac_active": (codes > 0).mean(0), "dead": ~(codes > 0).any(0)}, index=names)
    decoder = np.eye(n_features, n_genes, dtype=np.float32)
    adata.uns["sae"] = {"weights": {"W_dec": decoder}, "features": table, "params": {}}
    return adata


def nothing(n_obs: int, n_donors: int, *, seed: int, n_features: int = 20, n_genes: int = 50) -> ad.AnnData:
    """Codes, genes and labels that differ between donors, each on its own: no relation within donors."""
    rng = np.random.default_rng(seed)
    donor = np.arange(n_obs) % n_donors
    rate = rng.uniform(0.1, 0.5, (n_donors, n_features))[donor]
    codes = rng.gamma(3, 1 / 3, rate.shape) * (rng.random(rate.shape) < rate)
    shift = rng.standard_normal((n_donors, n_genes))[donor]
    adata = wrapped(codes, shift + rng.standard_normal((n_obs, n_genes)))
    adata.obs["donor"] = pd.Categorical([f"d{i}" for i in donor])
    share = rng.dirichlet([5, 5, 5], n_donors)[donor].cumsum(1)
    adata.obs["cell_type"] = pd.Categorical([f"type_{i}" for i in (rng.random((n_obs, 1)) > share).sum(1)])
    adata.obs["genotype"] = pd.Categorical([f"g{i % 2}" for i in rng.permutation(n_donors)[donor]])
    adata.obs["depth"] = rng.standard_normal(n_donors)[donor] + rng.standard_normal(n_obs)
    adata.obs["age"] = rng.standard_normal(n_donors)[donor]
    return adata
