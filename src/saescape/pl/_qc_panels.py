"""Draw the distribution of one measure with its limits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from saescape._typing import BoolArray, FloatArray, IntArray

_FILL, _FAILED, _LIMIT = "#9db4cc", "#c1272d", "0.15"
_MIN_BINS, _MAX_BINS = 12, 50
# how far from the bulk (1st to 99th percentile) an axis reaches
_FACTOR, _SPANS = 30.0, 3.0
# half the height of the distribution of a group; groups are 1 apart
_HALF = 0.42
# ticks of failing observations that are drawn
_MAX_TICKS = 1_000


def limits_of(rows: pd.DataFrame, groups: np.ndarray | None, n_obs: int) -> tuple[FloatArray, FloatArray]:
    """Lower and upper limit of every observation, from the rows of its column in the table of limits."""
    from saescape.imaging._qc_verdict import ALL_GROUPS, POOLED

    low, high = np.full(n_obs, -np.inf), np.full(n_obs, np.inf)
    if rows.empty:
        return low, high
    pairs = {str(name): (lo, hi) for name, lo, hi in rows[["group", "low", "high"]].itertuples(index=False)}
    if ALL_GROUPS in pairs and set(rows["rule"]) != {"mad"}:
        low[:], high[:] = pairs[ALL_GROUPS]
    elif groups is not None:
        rest = pairs.get(POOLED, (-np.inf, np.inf))
        names, codes = np.unique(groups, return_inverse=True)
        both = np.array([pairs.get(str(name), rest) for name in names], dtype=np.float64)
        low, high = both[codes, 0], both[codes, 1]
    return low, high


@dataclass(frozen=True)
class Panel:
    """Values of a measure, with the limits of each observation."""

    values: FloatArray
    low: FloatArray
    high: FloatArray
    may_be_log: bool
    n_groups: int = 1

    @cached_property
    def failed(self) -> BoolArray:
        """Observations beyond their limits."""
        return (self.values < self.low) | (self.values > self.high)

    @cached_property
    def bulk(self) -> tuple[float, float]:
        """1st and 99th percentile."""
        known = self.values[np.isfinite(self.values)]
        if not len(known):
            return 0.0, 1.0
        low, high = np.percentile(known, (1, 99))
        return float(low), float(high)

    @property
    def log(self) -> bool:
        """Whether the axis is logarithmic."""
        return self.may_be_log and self.bulk[0] > 0

    @cached_property
    def edges(self) -> FloatArray:
        """Edges of the bins, over all values and limits but those that are far off."""
        low, high = self.bulk
        if self.log:
            least, most = low / _FACTOR, high * _FACTOR
        else:
            # shares have most of their values at 0, and still some to show
            span = (high - low) or float(np.nanmax(self.values, initial=high)) - high or 1.0
            least, most = low - _SPANS * span, high + _SPANS * span
        seen = np.concatenate([self.values, np.unique(self.low), np.unique(self.high)])
        seen = seen[np.isfinite(seen) & (seen >= least) & (seen <= most)]
        start, stop = (float(seen.min()), float(seen.max())) if len(seen) else (low, high)
        per_group = len(self.values) / self.n_groups
        n_bins = int(np.clip(2 * np.sqrt(per_group), _MIN_BINS, _MAX_BINS))
        if self.log:
            # a little room beyond the last limit, and a width if all values are equal
            return np.geomspace(start / 1.05, stop * 1.05, n_bins + 1)
        margin = float(0.03 * (stop - start) or 0.05 * abs(stop) or 0.5)
        return np.linspace(start - margin, stop + margin, n_bins + 1)

    def counts(self, rows: BoolArray | slice = slice(None)) -> FloatArray:
        """Histogram of some observations; what is far off counts in the first or last bin."""
        return np.histogram(self.drawn(rows), self.edges)[0].astype(np.float64)

    def drawn(self, rows: BoolArray | IntArray | slice) -> FloatArray:
        """Where values are drawn."""
        chosen = self.values[rows]
        return np.clip(chosen[np.isfinite(chosen)], self.edges[0], self.edges[-1])


def draw_histogram(ax: Axes, panel: Panel) -> None:
    """All observations together."""
    ax.stairs(panel.counts(), panel.edges, fill=True, color=_FILL)
    ax.stairs(panel.counts(panel.failed), panel.edges, fill=True, color=_FAILED)
    _ticks(ax, panel, np.flatnonzero(panel.failed), 0.0)
    for limits in (panel.low, panel.high):
        finite = np.unique(limits[np.isfinite(limits)])
        if len(finite) == 0:
            continue
        if finite[-1] > finite[0]:
            ax.axvspan(finite[0], finite[-1], color=_LIMIT, alpha=0.15, linewidth=0)
        else:
            ax.axvline(finite[0], color=_LIMIT, linestyle="--", linewidth=1)
    ax.set_yticks([])
    ax.set_ylim(bottom=0)
    _value_axis(ax, panel)


def draw_groups(ax: Axes, panel: Panel, codes: IntArray, names: list[str]) -> None:
    """One distribution per group, each as high as the others, with the limits of its observations."""
    for number, _ in enumerate(names):
        members = codes == number
        counts = panel.counts(members)
        scale = _HALF / max(counts.max(), 1.0)
        for part, color in ((counts, _FILL), (panel.counts(members & panel.failed), _FAILED)):
            half = np.append(part, part[-1]) * scale
            ax.fill_between(panel.edges, number - half, number + half, step="post", color=color, linewidth=0)
        _ticks(ax, panel, np.flatnonzero(members & panel.failed), float(number))
        for limits in (panel.low[members], panel.high[members]):
            finite = np.unique(limits[np.isfinite(limits)])
            if len(finite):
                ends = (number - _HALF, number + _HALF)
                ax.fill_betweenx(ends, finite[0], finite[-1], color=_LIMIT, alpha=0.15, linewidth=0)
                ax.vlines(finite[[0, -1]], *ends, color=_LIMIT, linestyle="--", linewidth=1)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    _value_axis(ax, panel)


def _ticks(ax: Axes, panel: Panel, rows: IntArray, at: float) -> None:
    # every one of few; of many, evenly chosen ones show the extent as well
    if len(rows) > _MAX_TICKS:
        rows = rows[np.argsort(panel.values[rows])][np.linspace(0, len(rows) - 1, _MAX_TICKS).astype(int)]
    drawn = panel.drawn(rows)
    ticks = ax.plot(drawn, np.full(len(drawn), at), "|", color=_FAILED, markersize=9, markeredgewidth=1, clip_on=False)
    # they stand on the frame, and should not move it
    ticks[0].set_in_layout(False)


def _value_axis(ax: Axes, panel: Panel) -> None:
    from matplotlib import ticker

    ax.set_xlim(panel.edges[0], panel.edges[-1])
    if panel.log:
        ax.set_xscale("log")
        decades = np.log10(panel.edges[-1] / panel.edges[0])
        # enough labels to read a scale, not so many that they overlap
        shown = (1.0,) if decades > 2 else (1.0, 3.0) if decades > 1 else (1.0, 2.0, 5.0)
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=shown))
        ax.xaxis.set_major_formatter(ticker.FuncFormatter(_number))
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    else:
        ax.xaxis.set_major_locator(ticker.MaxNLocator(5))


def _number(value: float, _: object = None) -> str:
    """`300`, or mantissa and power of ten for large and small ones."""
    if value <= 0 or 1e-2 <= value < 1e4:
        return f"{value:g}"
    exponent = int(np.floor(np.log10(value) + 1e-9))
    mantissa = round(value / 10.0**exponent)
    return rf"$10^{{{exponent}}}$" if mantissa == 1 else rf"${mantissa}{{\cdot}}10^{{{exponent}}}$"
