"""Which observations stand out in the quality of their pixels, and in what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from saescape._typing import BoolArray, FloatArray, IntArray

MEASURES = ("focus", "mean", "sd", "saturated", "foreground")
PASS = "pass"
ALL_GROUPS = "all"
# groups with fewer observations than this are judged together, under this name
MIN_GROUP = 20
POOLED = f"fewer than {MIN_GROUP}"
# measures whose outliers are looked for, and whether large values are outliers, too
_OUTLIER_MEASURES = {"focus": False, "mean": True}
# scaled MAD of the logarithm below which values are equal but for rounding
_NO_SPREAD = 1e-6
# standard deviation of the Laplacian, relative to the mean, that rounding to float32 alone can cause
_ROUNDING = 3e-6
_LIMIT_COLUMNS = ["column", "group", "rule", "low", "high", "n_obs", "n_low", "n_high"]
_COLUMN = re.compile(rf"qc_({'|'.join(MEASURES)})_(.+)", re.DOTALL)


class QcColumn(NamedTuple):
    """A column of `obs` with a measure of one channel."""

    column: str
    measure: str
    channel: str


def qc_columns_of(columns: Iterable[object]) -> list[QcColumn]:
    """The columns that hold quality measures, in their order."""
    found = ((column, _COLUMN.fullmatch(column)) for column in columns if isinstance(column, str))
    return [QcColumn(column, match[1], match[2]) for column, match in found if match]


@dataclass(frozen=True)
class Verdict:
    """Whether each observation passed, the first column it failed in, and the limits that were used.

    `limits` has one row per column and group (`"all"`: the same limits for all groups).
    """

    passed: BoolArray
    reason: pd.Categorical
    limits: pd.DataFrame


def judge(
    table: pd.DataFrame,
    group: IntArray,
    group_names: Sequence[str],
    *,
    thresholds: Mapping[str, tuple[float, float]] | None = None,
    n_mads: float | None = 5.0,
    max_saturated: float | None = 0.05,
) -> Verdict:
    """Compare every column with its limits: those given, else the outlier rule, else the limit on saturation.

    Values that are missing are not judged. A channel that is constant everywhere is only judged by given thresholds.
    """
    given = dict(thresholds or {})
    parts = qc_columns_of(table.columns)
    noise, constant = _noise(table, parts)
    members = _members(group, group_names)
    everything = {ALL_GROUPS: np.arange(len(table))}
    rows: list[dict[str, object]] = []
    first = np.zeros(len(table), dtype=np.int64)
    reasons = {PASS: 0}
    measure_of = {part.column: part for part in parts}
    for column in [*measure_of, *(name for name in given if name not in measure_of)]:
        part = measure_of.get(column)
        values = table[column].to_numpy(dtype=np.float64)
        if column in given:
            rule, limits = "threshold", {ALL_GROUPS: given[column]}
        elif part is None or part.channel in constant:
            continue
        elif part.measure == "saturated" and max_saturated is not None:
            rule, limits = "saturated", {ALL_GROUPS: (-np.inf, max_saturated)}
        elif part.measure in _OUTLIER_MEASURES and n_mads is not None:
            rule = "mad"
            limits = _outlier_limits(
                values,
                members,
                n_mads,
                two_sided=_OUTLIER_MEASURES[part.measure],
                noise=noise.get(part.channel, 0.0) if part.measure == "focus" else 0.0,
            )
        else:
            continue
        for name, (low, high) in limits.items():
            rows_of = (everything if rule != "mad" else members)[name]
            inside = values[rows_of]
            failed = {"low": inside < low, "high": inside > high}
            for side, wrong in failed.items():
                hit = rows_of[wrong]
                first[hit[first[hit] == 0]] = reasons.setdefault(f"{column} {side}", len(reasons))
            rows.append(
                {
                    "column": column,
                    "group": name,
                    "rule": rule,
                    "low": float(low),
                    "high": float(high),
                    "n_obs": int(np.isfinite(inside).sum()),
                    "n_low": int(failed["low"].sum()),
                    "n_high": int(failed["high"].sum()),
                }
            )
    reason = pd.Categorical.from_codes(first, categories=list(reasons))
    keep = [name for name in reasons if name == PASS or (reason == name).any()]
    limits_table = pd.DataFrame(rows, columns=_LIMIT_COLUMNS)
    limits_table.index = limits_table.index.astype(str)
    return Verdict(first == 0, reason.set_categories(keep), limits_table)


def _members(group: IntArray, names: Sequence[str]) -> dict[str, IntArray]:
    """Rows of each group; those of small groups are put together."""
    counts = np.bincount(group, minlength=len(names))
    order = np.argsort(group, kind="stable")
    pieces = np.split(order, np.cumsum(counts)[:-1])
    large = {name: rows for name, rows in zip(names, pieces, strict=True) if len(rows) >= MIN_GROUP}
    small = np.sort(np.concatenate([rows for rows in pieces if len(rows) < MIN_GROUP] or [order[:0]]))
    return large | ({POOLED: small} if len(small) else {})


def _noise(table: pd.DataFrame, parts: list[QcColumn]) -> tuple[dict[str, float], set[str]]:
    """Focus that rounding alone can cause, per channel, and the channels that never exceed it."""
    columns = {(part.measure, part.channel): part.column for part in parts}
    noise, constant = {}, set()
    for (measure, channel), column in columns.items():
        if measure != "focus" or ("mean", channel) not in columns:
            continue
        mean = np.abs(table[columns["mean", channel]].to_numpy(dtype=np.float64))
        noise[channel] = float(_ROUNDING * np.nanmax(mean, initial=0.0)) ** 2
        # a flat object has no focus, but objects may still differ from each other
        spread = np.nanmax(mean, initial=0.0) - np.nanmin(mean, initial=np.inf)
        flat = not np.nanmax(table[column].to_numpy(dtype=np.float64), initial=0.0) > noise[channel]
        if flat and not spread > _NO_SPREAD * np.nanmax(mean, initial=0.0):
            constant.add(channel)
    return noise, constant


def _outlier_limits(
    values: FloatArray, members: Mapping[str, IntArray], n_mads: float, *, two_sided: bool, noise: float
) -> dict[str, tuple[float, float]]:
    """Limits per group: `n_mads` scaled median absolute deviations of the logarithm around its median.

    Leys et al. (2013), *J. Exp. Soc. Psychol.* 49, 764; the factor 1.4826 makes the deviation that of a normal law.
    A group without spread gets no limits.
    """
    known = np.isfinite(values)
    open_limits = (-np.inf, np.inf)
    if not known.any():
        return dict.fromkeys(members, open_limits)
    cleaned = np.where(values <= noise, 0.0, values) if noise > 0 else values
    # a shift to positive values for images with negative pixels; tiny against any real value
    floor = min(float(cleaned[known].min()), 0.0)
    shift = 1e-6 * max(float(np.abs(cleaned[known]).max()), 1e-300) - floor
    limits = {}
    for name, rows in members.items():
        logs = np.log(cleaned[rows[known[rows]]] + shift)
        limits[name] = open_limits
        if not len(logs):
            continue
        middle = float(np.median(logs))
        spread = 1.4826 * float(np.median(np.abs(logs - middle)))
        if spread > _NO_SPREAD:
            low, high = np.exp(middle - n_mads * spread) - shift, np.exp(middle + n_mads * spread) - shift
            limits[name] = (float(low), float(high) if two_sided else np.inf)
    return limits
