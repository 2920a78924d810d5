"""How far links lie from those of refitted couplings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray

_BIN, _N_BINS = 1e-3, 60_000
# links that all refits agree on to this have no null to speak of
_MIN_SD = 1e-6


@dataclass(frozen=True)
class NullMoments:
    """Mean and SD over refits of each link, and the z-scores of the data; all `(n_features, n_genes)`."""

    mean: FloatArray
    sd: FloatArray
    zscore: FloatArray


class NullPool:
    """Null z-scores of all links together, kept as a histogram of their absolute values, and the sums of squares."""

    def __init__(self, n_nulls: int) -> None:
        self._counts = np.zeros(_N_BINS, np.int64)
        self._squares, self._n_links = np.zeros(1 + n_nulls), 0

    def add(self, observed: FloatArray, nulls: FloatArray) -> NullMoments:
        """Standardise links `(n_features, n_genes)` by their nulls `(n_nulls, n_features, n_genes)`.

        Each null is standardised in the same way by the others (leave one out), so that null and observed z-scores
        have nearly the same distribution when the data are unrelated, and the nulls of all links can be pooled.
        """
        n = len(nulls)
        total, squares = nulls.sum(0), np.square(nulls).sum(0)
        mean, sd = _moments(total, squares, n)
        zscore = _standardised(observed, mean, sd)
        known = np.isfinite(zscore)
        self._n_links += int(known.sum())
        self._squares[0] += np.square(zscore[known]).sum()
        # a mean of one refit fewer is less certain
        scale = np.sqrt((1 + 1 / n) / (1 + 1 / (n - 1)))
        for i, null in enumerate(nulls, 1):
            moments = _moments(total - null, squares - null**2, n - 1)
            z = scale * np.nan_to_num(_standardised(null, *moments)[known])
            self._counts += np.bincount(_bin(np.abs(z)), minlength=_N_BINS)
            self._squares[i] += np.square(z).sum()
        return NullMoments(mean, sd, zscore)

    def pvalues(self, zscore: FloatArray) -> FloatArray:
        """Share of the pooled nulls that are as far from their means, both sides."""
        at_least = np.cumsum(self._counts[::-1])[::-1]
        known = np.isfinite(zscore)
        p = np.full(zscore.shape, np.nan)
        p[known] = (1 + at_least[_bin(np.abs(zscore[known]))]) / (1 + at_least[0])
        return p

    @property
    def strengths(self) -> FloatArray:
        """Mean squared z-score over all links, of the data and of each null `(1 + n_nulls,)`."""
        return self._squares / max(self._n_links, 1)


def false_discovery_rates(pvalue: FloatArray) -> FloatArray:
    """Adjusted p-values over all links that have one (Benjamini & Hochberg 1995)."""
    from scipy.stats import false_discovery_control

    known = np.isfinite(pvalue)
    q = np.full(pvalue.shape, np.nan)
    if known.any():
        q[known] = false_discovery_control(pvalue[known])
    return q


def share_as_high(observed: FloatArray, nulls: FloatArray) -> FloatArray:
    """P-values ``(1 + #{null >= observed}) / (1 + n_nulls)`` of `observed` `(...)` against `(n_nulls, ...)`."""
    p = (1 + np.sum(nulls >= observed, 0)) / (1 + len(nulls))
    return np.where(np.isfinite(observed), p, np.nan)


def _moments(total: FloatArray, squares: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    mean = total / n
    return mean, np.sqrt(np.maximum(squares - n * mean**2, 0) / (n - 1))


def _standardised(value: FloatArray, mean: FloatArray, sd: FloatArray) -> FloatArray:
    return (value - mean) / np.where(sd > _MIN_SD, sd, np.nan)


def _bin(z: FloatArray) -> np.ndarray:
    return np.minimum(z / _BIN, _N_BINS - 1).astype(np.int64)
