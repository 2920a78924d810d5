"""Claims, their checks with intervals, and the page they make; parts may be measured in separate runs."""

from __future__ import annotations

import datetime
import platform
import re
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

_HEADING = re.compile(r"^## (T\d+)\. ", re.MULTILINE)


@dataclass(frozen=True)
class Check:
    """One number against its threshold: `values` has one entry per seed, or `interval` is given beside a single one.

    It holds when the whole 95 % interval (Student's t over seeds) is on the right side, fails when none of it is, and
    is open otherwise.
    """

    what: str
    values: ArrayLike
    bar: float
    above: bool = True
    interval: tuple[float, float] | None = None

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def limits(self) -> tuple[float, float]:
        return self.interval or t_interval(self.values)

    @property
    def verdict(self) -> str:
        low, high = self.limits
        worst, best = (low, high) if self.above else (-high, -low)
        bar = self.bar if self.above else -self.bar
        return "holds" if worst >= bar else "fails" if best < bar else "open"

    def row(self) -> str:
        low, high = self.limits
        sign = ">=" if self.above else "<="
        return f"| {self.what} | {sign} {self.bar:g} | {self.mean:.3f} ({low:.3f} to {high:.3f}) | {self.verdict} |"


@dataclass
class Claim:
    """A claim of the page: what it says, what was checked, and what else was measured, as lines of Markdown."""

    name: str
    text: str
    checks: list[Check] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def verdict(self) -> str:
        found = [check.verdict for check in self.checks]
        if all(each == "holds" for each in found):
            return "holds"
        words = [f"{found.count(word)} {word}" for word in ("holds", "open", "fails") if word in found]
        return f"{', '.join(words)} of {len(found)}".replace("holds", "hold").replace("fails", "fail")

    def table(self, header: list[str], rows: list[list[object]]) -> None:
        self.lines += ["", f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
        self.lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]

    def say(self, *lines: str) -> None:
        self.lines += ["", *lines]

    def section(self, seconds: float, n_seeds: int, note: str = "") -> str:
        lines = [f"## {self.name}. {self.text}", "", f"**{self.verdict()}**", ""]
        lines += ["| checked | bar | mean (95 % interval) | verdict |", "|---|---|---|---|"]
        lines += [check.row() for check in self.checks] + self.lines
        packages = ", ".join(f"{name} {version(name)}" for name in ("saescape", "torch", "scanpy"))
        today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M}"
        lines += [
            "",
            f"*{today}, {seconds:.0f} CPU seconds{note}, {n_seeds} seeds, {platform.machine()}, {packages}.*",
            "",
        ]
        return "\n".join(lines)


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean over seeds; of one value only, the value itself."""
    values = np.asarray(values, dtype=float)
    if values.size < 2 or np.ptp(values) == 0:
        return float(values.mean()), float(values.mean())
    half = stats.t.ppf((1 + level) / 2, values.size - 1) * stats.sem(values)
    return float(values.mean() - half), float(values.mean() + half)


def spread(values: ArrayLike, digits: int = 2) -> str:
    """Mean and half the width of its interval, for a cell of a table."""
    low, high = t_interval(values)
    return f"{np.mean(values):.{digits}f} ± {(high - low) / 2:.{digits}f}"


def write(path: Path, sections: dict[str, str]) -> None:
    """Put the sections in place of those of the same name in an earlier page, and make the table of verdicts anew."""
    kept = _sections(path.read_text(encoding="utf-8")) if path.exists() else {}
    everything = dict(sorted({**kept, **sections}.items(), key=lambda item: int(item[0][1:])))
    lines = ["# Claims about superposition and alignment", ""]
    lines += [
        "Simulated data with known truth, public functions with default settings. Written by `benchmarks/claims.py`;",
        "parts may have been measured in separate runs of one thread, each says when. A check *holds* when its whole",
        "95 % interval (t over paired seeds) is on the right side of a threshold that was set before, *fails* when",
        "none of it is, and is *open* otherwise.",
    ]
    lines += ["", "| claim | | verdict |", "|---|---|---|"]
    for name, text in everything.items():
        title = text.splitlines()[0].split(". ", 1)[1]
        verdict = re.search(r"\*\*(.+?)\*\*", text)
        lines.append(f"| {name} | {title} | {verdict.group(1) if verdict else ''} |")
    path.write_text("\n".join(lines) + "\n\n" + "\n".join(everything.values()), encoding="utf-8")


def _sections(page: str) -> dict[str, str]:
    starts = [(match.group(1), match.start()) for match in _HEADING.finditer(page)]
    ends = [start for _, start in starts[1:]] + [len(page)]
    return {name: page[start:end].rstrip("\n") + "\n" for (name, start), end in zip(starts, ends, strict=True)}
