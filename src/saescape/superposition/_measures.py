"""Global measures, each beside the value that it has in a reference situation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ._geometry import random_abs_cosine, welch_bound
from ._spectrum import covariance_spectrum, spectral_entropy_rank, spectral_participation

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray

    from ._geometry import Geometry
    from ._interference import Interference


@dataclass(frozen=True)
class MeasureInput:
    """What the table is computed from; features without activity are left out of `scaled` and `geometry`."""

    scaled: sparse.csr_matrix
    geometry: Geometry
    observed: Interference
    n_features: int
    n_dims: int
    l0: float
    usage_crowding: float
    rep: FloatArray


def effective_features(scaled: sparse.csr_matrix) -> float:
    """Exponential of the entropy of the features' shares of total activity."""
    total = np.asarray(scaled.sum(0), dtype=np.float64).ravel()
    share = total[total > 0] / total.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def compressed_sensing_ratio(n_features: int, n_dims: int, l0: float) -> float:
    """``d / (L0 ln(m / L0))``; infinite when no code is active, NaN when as many are active as there are."""
    if l0 <= 0:
        return float("inf")
    if l0 >= n_features:
        return float("nan")
    return float(n_dims / (l0 * np.log(n_features / l0)))


def measure_table(given: MeasureInput) -> pd.DataFrame:
    """One row per measure: `value`, `reference` and what the reference is."""
    n, d, geometry, observed = len(given.geometry.nearest), given.n_dims, given.geometry, given.observed
    spectrum = covariance_spectrum(given.rep)
    n_cells, rep_dims = given.rep.shape
    random_dimensionality = 1.0 / (1.0 + (n - 1) / d)
    rows = {
        "crowding": (observed.crowding, given.usage_crowding, "independent firing, same usage"),
        "overlap": (observed.overlap, 1.0 / d, "random dictionary"),
        "n_alive": (n, given.n_features, "all features"),
        "n_duplicates": (int(geometry.duplicate.sum()), 0, "distinct directions"),
        "l0": (given.scaled.nnz / given.scaled.shape[0], 0.1 * n, "a tenth of the alive features"),
        "features_per_dimension": (n / d, 1.0, "orthonormal basis"),
        "mean_dimensionality": (float(geometry.dimensionality.mean()), random_dimensionality, "random dictionary"),
        "mean_abs_cosine": (geometry.mean_abs_cosine, random_abs_cosine(d), "random dictionary"),
        "rms_cosine": (geometry.rms_cosine, d**-0.5, "random dictionary"),
        "max_cosine": (float(geometry.max_cosine.max()), welch_bound(n, d), "Welch bound"),
        "frame_potential_excess": (geometry.frame_potential / max(n, n**2 / d), 1.0, "tight frame"),
        "effective_features_per_dimension": (effective_features(given.scaled) / d, n / d, "uniform usage"),
        "effective_rank": (spectral_entropy_rank(spectrum), rep_dims, "isotropic"),
        "participation_ratio": (
            spectral_participation(spectrum),
            rep_dims / (1 + rep_dims / n_cells),
            "isotropic, as many cells",
        ),
        "compressed_sensing_ratio": (compressed_sensing_ratio(n, d, given.l0), 2.0, "comfortable for recovery"),
        "linear_ceiling": (min(1.0, d / n), 1.0, "as many dimensions as features"),
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "reference", "reference_kind"])
    table.index.name = "measure"
    return table.astype({"value": float, "reference": float, "reference_kind": str})


def feature_table(
    alive: np.ndarray, norms: FloatArray, frac_active: FloatArray, geometry: Geometry, observed: Interference
) -> pd.DataFrame:
    """One row per feature; the geometry of features that never fire is missing (NaN, and "" for the nearest)."""
    names = np.array([f"sae_{i}" for i in range(len(alive))])
    nearest = np.full(len(alive), "", dtype=object)
    nearest[alive] = names[alive][geometry.nearest]
    duplicate = np.zeros(len(alive), dtype=bool)
    duplicate[alive] = geometry.duplicate
    columns = {}
    for name, values in {
        "dimensionality": geometry.dimensionality,
        "interference": observed.per_feature,
        "max_cosine": geometry.max_cosine,
    }.items():
        columns[name] = np.full(len(alive), np.nan)
        columns[name][alive] = values
    table = pd.DataFrame({"norm": norms, **columns, "nearest": nearest, "frac_active": frac_active})
    table["duplicate"] = duplicate
    table.index = pd.Index(names)
    return table
