"""Correlation of features with transported expression, over all cells or batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray, IntArray

# a feature or gene whose SD is a smaller share of its size is constant
_CONSTANT = 1e-6
# correlations nearer to 1 than this have no finite Fisher transform worth the name
_MAX_R = 1 - 1e-6
_MIN_CELLS = 4


@dataclass(frozen=True)
class Strength:
    """Links of features to genes, each `(n_features, n_genes)`.

    `correlation` is over all cells, or the mean over batches on Fisher's scale; NaN where nothing varies. `sd`, `t` and
    `n_batches` are None without batches: the SD of the correlations over batches, the t statistic of their mean on
    Fisher's scale, and the batches in which both vary.
    """

    correlation: FloatArray
    sd: FloatArray | None = None
    t: FloatArray | None = None
    n_batches: IntArray | None = None


def strength(codes: sparse.csr_matrix, expression: FloatArray, batch_of: IntArray | None = None) -> Strength:
    """Associate the features `codes` `(n, n_features)` with `expression` `(n, n_genes)`.

    With batches, correlations within each are combined: means of ``atanh(r)`` with weights ``n - 3``, the inverse of
    its variance (Fisher 1921).
    """
    if batch_of is None:
        return Strength(_correlation(codes, expression))
    shape = (codes.shape[1], expression.shape[1])
    count = np.zeros(shape, np.int64)
    r_sum, r_squares, weight, z_sum, w_squares, wz_sum, wz_squares = np.zeros((7, *shape))
    for batch in range(int(batch_of.max()) + 1):
        cells = np.flatnonzero(batch_of == batch)
        if len(cells) < _MIN_CELLS:
            continue
        r = _correlation(codes[cells], expression[cells])
        known = np.isfinite(r)
        r = np.where(known, r, 0)
        z, w = np.arctanh(np.clip(r, -_MAX_R, _MAX_R)), (len(cells) - 3) * known
        count += known
        r_sum += r
        r_squares += r**2
        weight += w
        z_sum += w * z
        w_squares += w**2
        wz_sum += w**2 * z
        wz_squares += (w * z) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = z_sum / weight
        several = count > 1
        sd = np.sqrt(np.maximum(r_squares - r_sum**2 / count, 0) / (count - 1))
        # variance of a weighted mean, estimated from the spread of the batches themselves
        spread = np.maximum(wz_squares - 2 * mean * wz_sum + mean**2 * w_squares, 0)
        t = mean * weight / np.sqrt(spread * count / (count - 1))
    return Strength(np.tanh(mean), np.where(several, sd, np.nan), np.where(several, t, np.nan), count)


def _correlation(codes: sparse.csr_matrix, expression: FloatArray) -> FloatArray:
    """Pearson correlations; the codes are never dense."""
    n = codes.shape[0]
    mean = expression.mean(0)
    centred = expression - mean
    size = np.sqrt(np.square(centred, dtype=np.float64).sum(0) / n)
    scale = np.maximum(np.abs(mean), size)
    product = np.asarray(codes.T @ centred, np.float64)
    exact = codes.astype(np.float64)
    first, second = (np.asarray(power.mean(0)).ravel() for power in (exact, exact.multiply(exact)))
    spread = np.sqrt(np.maximum(second - first**2, 0))
    constant_feature = spread <= _CONSTANT * np.sqrt(second)
    constant_gene = size <= _CONSTANT * scale
    with np.errstate(invalid="ignore", divide="ignore"):
        r = product / (n * spread[:, None] * size[None])
    r[constant_feature] = np.nan
    r[:, constant_gene] = np.nan
    return np.clip(r, -1, 1)
