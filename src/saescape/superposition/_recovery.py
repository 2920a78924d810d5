"""What compressed sensing says about telling active features apart: bounds and descriptions, never verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray

N_SUPPORTS = 1_000
# features of the largest support that is looked at
MAX_SUPPORT = 128
_GATHERED = 2**22


def compressed_sensing_ratio(n_features: int, n_dims: int, l0: float) -> float:
    """``d / (L0 ln(m / L0))``; infinite when no code is active, NaN when as many are active as there are."""
    if l0 <= 0:
        return float("inf")
    if l0 >= n_features:
        return float("nan")
    return float(n_dims / (l0 * np.log(n_features / l0)))


def support_size(n_features: int, l0: float) -> int:
    """Active features per row, rounded up, as far as supports of that size are looked at."""
    return int(np.clip(np.ceil(l0), 1, min(n_features, MAX_SUPPORT)))


def isometry_defect(unit: FloatArray, size: int, rng: np.random.Generator, *, n_supports: int = N_SUPPORTS) -> float:
    """Largest ``max(sigma_max^2 - 1, 1 - sigma_min^2)`` over random supports of `size` features.

    A lower bound of the restricted isometry constant, which is the largest over all supports.
    """
    m, d = unit.shape
    worst = 0.0
    at_once = max(1, _GATHERED // (size * max(d, size)))
    for start in range(0, n_supports, at_once):
        number = min(at_once, n_supports - start)
        supports = np.stack([rng.choice(m, size, replace=False) for _ in range(number)])
        rows = unit[supports].astype(np.float64)
        values = np.linalg.eigvalsh(rows @ rows.transpose(0, 2, 1))
        worst = max(worst, float(np.abs(values - 1).max()))
    return worst


def random_rows(n_features: int, n_dims: int, rng: np.random.Generator) -> FloatArray:
    """Unit rows drawn uniformly from the sphere, float32."""
    rows = rng.standard_normal((n_features, n_dims), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
