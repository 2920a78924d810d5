"""Features of a fit that belong to true concepts, matched by direction and never by activation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    import anndata as ad


def matched_features(fit: ad.AnnData) -> np.ndarray:
    """Feature of each concept, one to one, by the cosine of their directions."""
    learned, true = fit.uns["sae"]["weights"]["W_dec"], fit.uns["truth"]["dictionary"]
    learned = learned / np.maximum(np.linalg.norm(learned, axis=1, keepdims=True), 1e-12)
    used = fit.uns["sae"]["params"].get("used")
    if used is not None:
        # features that inference leaves out are no candidates
        learned = np.where(np.asarray(used)[:, None], learned, 0.0)
    return linear_sum_assignment(-(true @ learned.T))[1]


def matched_codes(fit: ad.AnnData) -> np.ndarray:
    """Codes of the cells in the order of the concepts."""
    return fit.obsm["X_sae"][:, matched_features(fit)].toarray()


def correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlation of every column of one with every column of the other; 0 for constant ones."""
    x, y = x - x.mean(0), y - y.mean(0)
    scale = np.linalg.norm(x, axis=0)[:, None] * np.linalg.norm(y, axis=0)
    return np.divide(x.T @ y, scale, out=np.zeros_like(scale, dtype=float), where=scale > 0)
