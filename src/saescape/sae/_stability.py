"""Whether two dictionaries hold the same directions, and how much of that chance would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from saescape._typing import FloatArray


def matched_cosines(first: FloatArray, second: FloatArray) -> FloatArray:
    """Cosines of directions that are paired one to one such that their sum is largest.

    Parameters
    ----------
    first, second
        Directions in rows `(m_1, d)` and `(m_2, d)`; rows of zeros match nothing.

    Returns
    -------
    ``max(m_1, m_2)`` cosines, signed; directions of the larger set that are left without a partner count as 0.

    Notes
    -----
    Pairing by the Hungarian method, one to one: a direction that one dictionary holds many times is found once.
    """
    cosines = unit_rows(first) @ unit_rows(second).T
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    # two empty dictionaries agree on nothing
    matched = np.zeros(max(1, *cosines.shape))
    matched[: len(rows)] = cosines[rows, columns]
    return matched


def spread_factor(sample: FloatArray) -> FloatArray:
    """Matrix `L` for which ``normal @ L`` has the second moments of the sample `(n, d)`."""
    values, vectors = np.linalg.eigh(sample.T @ sample / len(sample))
    return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def random_rows(n: int, factor: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Gaussian rows with the second moments that :func:`spread_factor` was given."""
    return rng.standard_normal((n, len(factor))) @ factor


def unit_rows(rows: FloatArray) -> FloatArray:
    """Rows of length 1; rows of zeros stay zero."""
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(float).tiny)
