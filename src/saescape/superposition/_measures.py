"""Global measures, each beside the value that it has in a reference situation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ._geometry import dictionary_geometry, random_abs_cosine, welch_bound
from ._nulls import permute_within_blocks
from ._recovery import compressed_sensing_ratio, isometry_defect, random_rows
from ._spectrum import covariance_spectrum, spectral_entropy_rank, spectral_participation
from ._usage import code_spectrum, effective_features, zipf_features

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray, IntArray

    from ._geometry import Geometry
    from ._interference import Interference

    Row = tuple[float, float, str]


# cells on which the spectrum of codes is computed
_SPECTRUM_CELLS = 1_000


@dataclass(frozen=True)
class MeasureInput:
    """What the table is computed from; features without activity are left out of `scaled`, `unit` and `geometry`.

    `geometry` has the Babel function for `size` and ``size - 1`` features, `here` are the codes of sampled cells and
    `rep` their representation.
    """

    scaled: sparse.csr_matrix
    unit: FloatArray
    geometry: Geometry
    observed: Interference
    n_features: int
    l0: float
    size: int
    usage_crowding: float
    here: sparse.csr_matrix
    rep: FloatArray


def measure_table(given: MeasureInput, rng: np.random.Generator) -> pd.DataFrame:
    """One row per measure: `value`, `reference` and what the reference is."""
    spectrum_rng, random_rng, support_rng = rng.spawn(3)
    d, energies = given.unit.shape[1], np.asarray(given.scaled.multiply(given.scaled).sum(0)).ravel()
    rows = {
        **_dictionary_rows(given, d),
        **_recovery_rows(given, d, np.argsort(energies, kind="stable"), random_rng, support_rng),
        **_spectrum_rows(given, spectrum_rng),
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "reference", "reference_kind"])
    table.index.name = "measure"
    return table.astype({"value": float, "reference": float, "reference_kind": str})


def _dictionary_rows(given: MeasureInput, d: int) -> dict[str, Row]:
    """Activity and angles."""
    n, geometry, observed = len(given.unit), given.geometry, given.observed
    effective = effective_features(given.scaled)
    mean_dimensionality = float(geometry.dimensionality.mean())
    return {
        "crowding": (observed.crowding, given.usage_crowding, "independent firing, same usage"),
        "overlap": (observed.overlap, 1.0 / d, "random dictionary"),
        "n_alive": (n, given.n_features, "all features"),
        "n_duplicates": (int(geometry.duplicate.sum()), 0, "distinct directions"),
        "l0": (given.scaled.nnz / given.scaled.shape[0], 0.1 * n, "a tenth of the alive features"),
        "features_per_dimension": (n / d, 1.0, "orthonormal basis"),
        "mean_dimensionality": (mean_dimensionality, 1.0 / (1.0 + (n - 1) / d), "random dictionary"),
        "total_dimensionality": (n * mean_dimensionality, min(n, d), "upper bound, tight frame"),
        "mean_abs_cosine": (geometry.mean_abs_cosine, random_abs_cosine(d), "random dictionary"),
        "rms_cosine": (geometry.rms_cosine, d**-0.5, "random dictionary"),
        "max_cosine": (float(geometry.max_cosine.max()), welch_bound(n, d), "Welch bound"),
        "frame_potential_excess": (geometry.frame_potential / max(n, n**2 / d), 1.0, "tight frame"),
        "effective_features": (effective, zipf_features(n), "usage by Zipf's law"),
        "effective_features_per_dimension": (effective / d, n / d, "uniform usage"),
    }


def _recovery_rows(
    given: MeasureInput, d: int, order: IntArray, random_rng: np.random.Generator, support_rng: np.random.Generator
) -> dict[str, Row]:
    """Whether there are dimensions enough to tell active features apart, beside a dictionary drawn at random.

    Supports are drawn in the `order` of features, which does not depend on how they are numbered.
    """
    n, size = len(given.unit), given.size
    drawn = random_rows(n, d, random_rng)
    expected = dictionary_geometry(drawn, (size,))
    seeds = support_rng.spawn(2)
    one_drawn = "random dictionary (one drawn)"
    return {
        "mean_max_cosine": (float(given.geometry.max_cosine.mean()), float(expected.max_cosine.mean()), one_drawn),
        "babel": (given.geometry.babel[0], expected.babel[0], one_drawn),
        "babel_recovery": (sum(given.geometry.babel), 1.0, "recovery is guaranteed below (sufficient only)"),
        "isometry_defect": (
            isometry_defect(given.unit[order], size, seeds[0]),
            isometry_defect(drawn, size, seeds[1]),
            one_drawn,
        ),
        "compressed_sensing_ratio": (compressed_sensing_ratio(n, d, given.l0), 2.0, "comfortable for recovery"),
        "linear_ceiling": (min(1.0, d / n), 1.0, "as many dimensions as features"),
    }


def _spectrum_rows(given: MeasureInput, rng: np.random.Generator) -> dict[str, Row]:
    """Directions that the representation and the codes vary in."""
    spectrum, (n_cells, dims) = covariance_spectrum(given.rep), given.rep.shape
    few = given.here[:: max(1, -(-given.here.shape[0] // _SPECTRUM_CELLS))]
    codes = code_spectrum(few)
    permuted = code_spectrum(permute_within_blocks(few, np.zeros(few.shape[0], dtype=np.int64), rng))
    stable = float(spectrum.sum() / spectrum[0]) if len(spectrum) else 0.0
    isotropic, independent = "isotropic, as many cells", "codes permuted over cells"
    return {
        "effective_rank": (spectral_entropy_rank(spectrum), dims, "isotropic"),
        "participation_ratio": (spectral_participation(spectrum), dims / (1 + dims / n_cells), isotropic),
        "stable_rank": (stable, dims / (1 + np.sqrt(dims / n_cells)) ** 2, isotropic),
        "code_effective_rank": (spectral_entropy_rank(codes), spectral_entropy_rank(permuted), independent),
        "code_participation_ratio": (spectral_participation(codes), spectral_participation(permuted), independent),
    }


def feature_table(
    alive: np.ndarray,
    norms: FloatArray,
    energies: FloatArray,
    frac_active: FloatArray,
    geometry: Geometry,
    observed: Interference,
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
    energy = np.zeros(len(alive))
    energy[alive] = energies
    table = pd.DataFrame({"norm": norms, "energy": energy, **columns, "nearest": nearest, "frac_active": frac_active})
    table["duplicate"] = duplicate
    table.index = pd.Index(names)
    return table
