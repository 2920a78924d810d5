"""Student's and Welch's tests from sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

# variances below this share of the mean square are rounding errors of sums
_ROUNDING = 1e-12


def two_sided(t: FloatArray, df: FloatArray | IntArray | float) -> FloatArray:
    """Two-sided p-value of Student's t; NaN stays NaN."""
    return 2 * stdtr(np.asarray(df, dtype=np.float64), -np.abs(t))


def paired_pvalues(total: FloatArray, squares: FloatArray, n: IntArray) -> FloatArray:
    """P-value of the t test of mean 0 of `n` differences, from their sum and sum of squares; NaN without variance."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / n
        variance = (squares - n * mean**2) / (n - 1)
        variance = np.where(variance > _ROUNDING * squares, variance, np.nan)
        return two_sided(mean / np.sqrt(variance / n), n - 1.0)


def welch(
    mean: FloatArray,
    squares: FloatArray,
    n: FloatArray,
    other_mean: FloatArray,
    other_squares: FloatArray,
    other_n: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """T and degrees of freedom (Welch 1947) of two samples, from their means, sums of squares and sizes."""
    with np.errstate(invalid="ignore", divide="ignore"):
        first = np.maximum(squares - n * mean**2, 0) / (n - 1) / n
        second = np.maximum(other_squares - other_n * other_mean**2, 0) / (other_n - 1) / other_n
        scale = np.square(mean) + np.square(other_mean)
        both = np.where(first + second > _ROUNDING * scale, first + second, np.nan)
        df = both**2 / (first**2 / (n - 1) + second**2 / (other_n - 1))
        return (mean - other_mean) / np.sqrt(both), df
