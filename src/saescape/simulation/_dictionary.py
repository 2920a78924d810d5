"""Directions of simulated concepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

_CLUSTER_SIZE = 4


def unit_dictionary(m: int, d: int, coherence: float, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Unit rows, orthonormal if they can be, drawn towards the common direction of their cluster."""
    rows = rng.standard_normal((m, d))
    if m <= d:
        rows = np.linalg.qr(rows.T)[0].T
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cluster = np.arange(m) // _CLUSTER_SIZE
    if coherence > 0:
        centres = rng.standard_normal((int(cluster[-1]) + 1, d))
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        rows = np.sqrt(1 - coherence) * rows + np.sqrt(coherence) * centres[cluster]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, cluster
