"""How many features carry the activity, and how many directions the codes vary in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray


def _exp_entropy(share: FloatArray) -> float:
    share = share[share > 0] / share.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def effective_features(scaled: sparse.csr_matrix) -> float:
    """Exponential of the entropy of the features' shares of total activity."""
    return _exp_entropy(np.asarray(scaled.sum(0), dtype=np.float64).ravel())


def zipf_features(n_features: int) -> float:
    """The same when the feature of rank `r` has a share proportional to ``1/r``."""
    return _exp_entropy(1 / np.arange(1, n_features + 1))


def code_spectrum(scaled: sparse.csr_matrix) -> FloatArray:
    """Eigenvalues of the scatter matrix of centred codes, decreasing, from products of cells; zeros are left out."""
    gram = (scaled @ scaled.T).toarray()
    gram -= gram.mean(0)
    gram -= gram.mean(1)[:, None]
    values = np.linalg.eigvalsh(gram)[::-1]
    return values[values > max(values[0], 0.0) * len(values) * np.finfo(np.float64).eps]
