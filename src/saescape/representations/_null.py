"""The place of an observed statistic among those of permutations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray

# statistics, and on which side of chance an organised phenotype lies
ALTERNATIVE: dict[str, Literal["greater", "less"]] = {
    "morans_i": "greater",
    "gearys_c": "less",
    "local_sd_ratio": "less",
    "knn_r2": "greater",
    "ridge_r2": "greater",
    "neighbor_purity": "greater",
    "knn_accuracy": "greater",
    "probe_accuracy": "greater",
    "knn_overlap": "greater",
}
# those with a natural zero, which can be divided by their chance level
RATIO_SCALE = ("gearys_c", "local_sd_ratio", "neighbor_purity", "knn_accuracy", "probe_accuracy", "knn_overlap")
# relative and absolute tolerance for "as extreme as observed"
_RTOL, _ATOL = 1e-9, 1e-10


def against_null(statistic: str, values: FloatArray) -> dict[str, float | int]:
    """Value, null and one-sided p-value ``(1 + #{as extreme as observed}) / (1 + n_perms)``.

    Parameters
    ----------
    statistic
        Name, which decides the side.
    values
        The statistic in the observed order, then in each permutation. NaN null and p-value without permutations.
    """
    observed, null = float(values[0]), values[1:]
    result: dict[str, float | int] = {"value": observed, "n_perms": len(null)}
    nan = float("nan")
    if not len(null) or np.isnan(observed):
        return {**result, "null_mean": nan, "null_sd": nan, "z": nan, "ratio": nan, "pvalue": nan}
    sign = 1.0 if ALTERNATIVE[statistic] == "greater" else -1.0
    as_extreme = int(np.sum(sign * null >= sign * observed - _RTOL * abs(observed) - _ATOL))
    mean, sd = float(null.mean()), float(null.std(ddof=1)) if len(null) > 1 else 0.0
    return {
        **result,
        "null_mean": mean,
        "null_sd": sd,
        "z": (observed - mean) / sd if sd > _ATOL else nan,
        "ratio": observed / mean if statistic in RATIO_SCALE and mean > 0 else nan,
        "pvalue": (1 + as_extreme) / (1 + len(null)),
    }
