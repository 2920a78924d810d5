"""How many directions a cloud of points uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray


def covariance_spectrum(x: FloatArray) -> FloatArray:
    """Eigenvalues of the scatter matrix of centred rows, decreasing, without those that are zero up to rounding."""
    centred = np.asarray(x, dtype=np.float64)
    centred = centred - centred.mean(0)
    gram = centred.T @ centred if centred.shape[1] <= len(centred) else centred @ centred.T
    values = np.linalg.eigvalsh(gram)[::-1]
    return values[values > values[0] * len(values) * np.finfo(np.float64).eps] if values[0] > 0 else values[:0]


def spectral_entropy_rank(spectrum: FloatArray) -> float:
    """Exponential of the entropy of the singular values; 0 without variance."""
    if not len(spectrum):
        return 0.0
    share = np.sqrt(spectrum)
    share = share / share.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def spectral_participation(spectrum: FloatArray) -> float:
    """``(sum lambda)^2 / sum lambda^2``; 0 without variance."""
    return float(spectrum.sum() ** 2 / np.sum(spectrum**2)) if len(spectrum) else 0.0
