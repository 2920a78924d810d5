"""Who is measured where: conditions, lines, plates, wells and time of simulated cells, and what they do to concepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._validate import check_integer, check_real

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

ROLES = ("time_up", "time_down", "condition", "plate", "private")

# standard deviations of the logarithm
_LINE_SD = 0.2
_WELL_SD = 0.1
# conditions shift the time of their cells between these means
_MEAN_TIME = (0.35, 0.65)
_TIME_CONCENTRATION = 3.0
_EFFECT = (0.6, 0.95)
_PHENOTYPE_SLOPE = 1.5
_PHENOTYPE_CONCENTRATION = 10.0


@dataclass(frozen=True)
class Design:
    """Cells, concepts, and how much more or less often than usual each cell shows each concept.

    `obs` holds, per cell, the categories `condition`, `line`, `plate` and `well` and `time` in [0, 1]. `factor`
    `(n_obs, n_concepts)` holds non-negative multipliers of concept rates, with mean about 1 per concept. `concepts`
    holds, per concept, its `role` and `effect`: the multiplier goes from ``1 - effect`` to ``1 + effect`` over time
    (negative effects for `time_down`), over conditions or over plates, and is unrelated to them for `private`.
    """

    obs: pd.DataFrame
    factor: FloatArray
    concepts: pd.DataFrame

    @property
    def plate(self) -> IntArray:
        """Number of the plate of each cell, as in the name of its category."""
        codes: IntArray = self.obs["plate"].str.removeprefix("plate_").to_numpy(dtype=np.intp)
        return codes


def latent_design(
    n_obs: int,
    n_concepts: int,
    *,
    n_conditions: int = 2,
    n_lines: int = 2,
    n_plates: int = 2,
    n_wells: int = 4,
    time_share: float = 0.2,
    condition_share: float = 0.1,
    plate_share: float = 0.1,
    heterogeneity: float = 0.5,
    confounded: bool = False,
    rng: np.random.Generator,
) -> Design:
    """Draw a design: `n_lines` lines per condition, `n_wells` wells per plate, each well with one line.

    Wells take the lines in turn, the conditions alternating, so that each plate holds all conditions; with
    `confounded` each plate holds one. Cells are spread evenly over the wells. The time of a cell is Beta with a mean
    that rises with its condition. The multiplier of a concept is the product of its role's effect, of log-normal
    variables of the line (SD 0.2) and of the well (SD 0.1), and of a Gamma(`heterogeneity`) variable of the cell
    (none if that is infinite).
    """
    check_integer("n_obs", n_obs)
    check_integer("n_concepts", n_concepts)
    check_design(n_conditions, n_lines, n_plates, n_wells, confounded=confounded)
    concepts = _concepts(n_concepts, time_share, condition_share, plate_share, rng)
    if heterogeneity != np.inf:
        check_real("heterogeneity", heterogeneity)

    plate_of_well, condition_of_well, line_of_well = _wells(
        n_conditions, n_lines, n_plates, n_wells, confounded=confounded
    )
    well = rng.permutation(np.arange(n_obs) % (n_plates * n_wells))
    plate, condition, line = plate_of_well[well], condition_of_well[well], line_of_well[well]
    mean = np.linspace(*_MEAN_TIME, n_conditions) if n_conditions > 1 else np.array([0.5])
    time = rng.beta(_TIME_CONCENTRATION * mean[condition], _TIME_CONCENTRATION * (1 - mean[condition]))

    factor = _unit_lognormal(_LINE_SD, (n_conditions * n_lines, n_concepts), rng)[line]
    factor *= _unit_lognormal(_WELL_SD, (n_plates * n_wells, n_concepts), rng)[well]
    _apply_roles(factor, concepts, time, condition, plate, rng)
    if heterogeneity != np.inf:
        factor *= rng.standard_gamma(heterogeneity, factor.shape, dtype=np.float32) / np.float32(heterogeneity)

    obs = pd.DataFrame(
        {
            "condition": _categorical("condition", condition),
            "line": _categorical("line", line),
            "plate": _categorical("plate", plate),
            "well": _categorical("well", well),
            "time": time,
        }
    )
    return Design(obs, factor, concepts)


def phenotype(concepts: Any, roles: Any, *, zeros: float, rng: np.random.Generator) -> FloatArray:
    r"""Zero-inflated Beta phenotype `(n_obs,)` that follows the time concepts.

    The score of a cell is the sum of its standardised `time_up` concepts minus that of its `time_down` concepts,
    itself standardised. The phenotype is Beta with concentration 10 and mean :math:`\operatorname{logit}^{-1}(1.5
    \times \text{score})`; a share `zeros` of the cells, drawn at random, is exactly 0.
    """
    zeros = check_real("zeros", zeros, 0.0, 1.0, open_low=False)
    sign = pd.Series(np.asarray(roles, dtype=object)).map({"time_up": 1.0, "time_down": -1.0}).fillna(0.0).to_numpy()
    timed = np.flatnonzero(sign)
    score = _standardised(np.asarray(concepts)[:, timed].astype(np.float64)) @ sign[timed]
    mean = 1 / (1 + np.exp(-_PHENOTYPE_SLOPE * _standardised(score)))
    value: FloatArray = rng.beta(_PHENOTYPE_CONCENTRATION * mean, _PHENOTYPE_CONCENTRATION * (1 - mean))
    # so that only the cells asked for are 0
    value = np.maximum(value, np.finfo(np.float32).tiny)
    value[rng.permutation(len(value))[: round(zeros * len(value))]] = 0.0
    return value


def check_design(n_conditions: int, n_lines: int, n_plates: int, n_wells: int, *, confounded: bool = False) -> None:
    """Raise unless the wells can hold all lines and, if crossed, each plate all conditions."""
    sizes = {"n_conditions": n_conditions, "n_lines": n_lines, "n_plates": n_plates, "n_wells": n_wells}
    for name, value in sizes.items():
        check_integer(name, value)
    if confounded:
        check_integer("n_plates", n_plates, n_conditions)
        wells = n_plates // n_conditions * n_wells
    else:
        check_integer("n_wells", n_wells, n_conditions)
        wells = n_plates * (n_wells // n_conditions)
    if wells < n_lines:
        msg = (
            f"`n_lines` {n_lines} per condition do not fit into the {wells} wells that a condition has with `n_plates` "
            f"{n_plates} and `n_wells` {n_wells}; ask for fewer lines or more wells."
        )
        raise ValueError(msg)


def _wells(
    n_conditions: int, n_lines: int, n_plates: int, n_wells: int, *, confounded: bool
) -> tuple[IntArray, IntArray, IntArray]:
    """Plate, condition and line of each well."""
    well = np.arange(n_plates * n_wells)
    plate = well // n_wells
    condition = (plate if confounded else well % n_wells) % n_conditions
    line = np.empty_like(well)
    for c in range(n_conditions):
        of_condition = np.flatnonzero(condition == c)
        line[of_condition] = c * n_lines + np.arange(len(of_condition)) % n_lines
    return plate, condition, line


def _concepts(
    n_concepts: int, time_share: float, condition_share: float, plate_share: float, rng: np.random.Generator
) -> pd.DataFrame:
    shares = {"time_share": time_share, "condition_share": condition_share, "plate_share": plate_share}
    for name, value in shares.items():
        check_real(name, value, 0.0, 1.0, open_low=False)
    if sum(shares.values()) > 1 + 1e-9:
        msg = f"`time_share`, `condition_share` and `plate_share` must not exceed 1 in sum, found {shares}."
        raise ValueError(msg)
    # cumulative counts are rounded, so that the parts never exceed the whole
    up_to = np.cumsum([time_share / 2, time_share / 2, condition_share, plate_share]) * n_concepts
    counts = np.diff(np.round(up_to + 1e-9).astype(int), prepend=0)
    role = np.repeat(np.array(ROLES, dtype=object), [*counts, n_concepts - counts.sum()])
    role = rng.permutation(role)
    effect = rng.uniform(*_EFFECT, n_concepts)
    effect[role == "time_down"] *= -1
    effect[role == "private"] = 0.0
    return pd.DataFrame(
        {"role": pd.Categorical(role, categories=list(ROLES)), "effect": effect},
        index=[f"concept_{k}" for k in range(n_concepts)],
    )


def _apply_roles(
    factor: FloatArray,
    concepts: pd.DataFrame,
    time: FloatArray,
    condition: IntArray,
    plate: IntArray,
    rng: np.random.Generator,
) -> None:
    """Multiply the columns of `factor` by what their roles do, in place."""
    role, effect = concepts["role"].to_numpy(), concepts["effect"].to_numpy()
    timed = np.flatnonzero((role == "time_up") | (role == "time_down"))
    factor[:, timed] *= (1 + effect[timed] * (2 * time[:, None] - 1)).astype(factor.dtype)
    for name, group in (("condition", condition), ("plate", plate)):
        columns = np.flatnonzero(role == name)
        n = int(group.max()) + 1
        level = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        # which group has most of a concept differs between concepts
        levels = rng.permuted(np.tile(level[:, None], len(columns)), axis=0)
        factor[:, columns] *= (1 + effect[columns] * levels)[group].astype(factor.dtype)


def _unit_lognormal(sd: float, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    return rng.lognormal(-(sd**2) / 2, sd, shape).astype(np.float32)


def _standardised(x: FloatArray) -> FloatArray:
    sd = x.std(0)
    return (x - x.mean(0)) / np.where(sd > 0, sd, 1.0)


def _categorical(name: str, codes: IntArray) -> pd.Categorical:
    found, inverse = np.unique(codes, return_inverse=True)
    return pd.Categorical.from_codes(inverse, [f"{name}_{i}" for i in found])
