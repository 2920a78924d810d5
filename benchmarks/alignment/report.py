"""The page of results: who is best where, every method at its documented and its best setting, and our verdicts."""

from __future__ import annotations

import datetime
import os
import platform
from typing import TYPE_CHECKING, Any

from .grid import DIAGNOSTIC, DOCUMENTED, OTHER, OURS, label
from .peers import versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Result = dict[str, Any]
_OWN = {OURS, OTHER, DIAGNOSTIC}
_MARK = "<!-- measured above, written below -->"


def page(results: Sequence[Result], correlations: dict[str, dict[str, float]], limit: int) -> str:
    """All tables, in Markdown; `correlations` are those of the distances of paired cells, by metric."""
    by_data: dict[str, list[Result]] = {}
    for result in results:
        by_data.setdefault(result["data"], []).append(result)
    times = sorted(result["when"] for result in results if "when" in result)
    ours = sorted(result["when"] for result in results if "when" in result and result["kind"] in _OWN)
    lines = [
        "# Gromov-Wasserstein alignment",
        "",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} shared cores, Python "
        f"{platform.python_version()}; {versions()}. Written by `benchmarks/gw_alignment.py`.",
        f"{len(times)} runs between {times[0]} and {times[-1]} (UTC; those of `gw_map` from "
        f"{ours[0] if ours else '-'} on), each once, in a process of its own with one "
        f"thread and at most {limit} CPU seconds.",
        *(["\\* of an earlier run of the same day, the same calls."] if any(r.get("earlier") for r in results) else []),
        "",
        *_summary(by_data),
        "",
        *_verdicts(by_data),
        "",
        *_geometry(by_data, correlations),
        "",
        "## Every method",
    ]
    for data, rows in by_data.items():
        lines += ["", *_table(data, rows)]
    return "\n".join(lines) + "\n"


def write(path: Path, measured: str) -> None:
    """Put the measured part in the place of the former one; what was written below the mark stays."""
    former = path.read_text(encoding="utf-8") if path.exists() else ""
    written = former.partition(_MARK)[2] or "\n"
    path.write_text(f"{measured}\n{_MARK}{written}", encoding="utf-8")


def best(rows: Iterable[Result]) -> Result | None:
    """The run closest to the truth: by FOSCTTM, or by label accuracy where there are no pairs."""
    done = [row for row in rows if "error" not in row]
    return min(done, key=lambda row: (row["foscttm"] or 0, -row["accuracy"]), default=None)


def _summary(by_data: dict[str, list[Result]]) -> list[str]:
    lines = [
        "## `gw_map` at its one default against the best of all peers' runs",
        "",
        "| data | best peer, setting chosen with the truth | FOSCTTM, peer | `gw_map` | accuracy, peer | `gw_map` "
        "| CPU s, peer | `gw_map` | without its nulls | MiB, peer | `gw_map` |",
        "|---" * 11 + "|",
    ]
    for data, rows in by_data.items():
        peer = best(row for row in rows if row["kind"] not in _OWN)
        ours = best(row for row in rows if row["kind"] == OURS)
        if peer is None or ours is None:
            continue
        untested = next((row for row in rows if row["kind"] == OTHER and "metric" not in row["arguments"]), {})
        numbers = [
            (_number(peer.get(key), digits), _number(ours.get(key, untested.get(key)), digits))
            for key, digits in (("foscttm", 3), ("accuracy", 3), ("cpu", 1), ("mib", 0))
        ]
        cells = [data, f"{peer['method']}, {_setting(peer)}"]
        cells += [number for pair in numbers for number in pair]
        cells.insert(8, _number(untested.get("cpu"), 1))
        lines.append(_row(cells))
    return lines


def _verdicts(by_data: dict[str, list[Result]]) -> list[str]:
    lines = [
        "## What `gw_map` says of its own result",
        "",
        "| data | FOSCTTM | accuracy | balanced | p | label p | ambiguous | warned |",
        "|---" * 8 + "|",
    ]
    for data, rows in by_data.items():
        ours = best(row for row in rows if row["kind"] == OURS)
        if ours is None:
            continue
        cells = [
            data,
            *(_number(ours[key], 3) for key in ("foscttm", "accuracy", "balanced", "pvalue", "label_pvalue")),
        ]
        cells += [_yes(ours["ambiguous"]), _yes("SignificanceWarning" in ours["warned"])]
        lines.append(_row(cells))
    return lines


def _geometry(by_data: dict[str, list[Result]], correlations: dict[str, dict[str, float]]) -> list[str]:
    lines = [
        "## Search or geometry: what the true coupling costs, and what other metrics give",
        "",
        "| data | r of paired distances: cosine | geodesic | euclidean | loss of `gw_map` | of the descent from truth "
        "| FOSCTTM there | loss of the truth | FOSCTTM (accuracy), euclidean alone | all three metrics |",
        "|---" * 10 + "|",
    ]
    for data, rows in by_data.items():
        ours = best(row for row in rows if row["kind"] == OURS) or {}
        truth = best(row for row in rows if row["kind"] == DIAGNOSTIC) or {}
        related = correlations.get(data, {})
        cells = [data, *(_number(related.get(metric), 2) for metric in ("cosine", "geodesic", "euclidean"))]
        cells += [_number(ours.get("loss", {}).get("mean"), 3), _number(truth.get("loss", {}).get("mean"), 3)]
        cells += [_number(truth.get("foscttm"), 3), _number(ours.get("truth_loss", {}).get("mean"), 3)]
        for otherwise in (row for row in rows if row["kind"] == OTHER and "metric" in row["arguments"]):
            score = (otherwise.get("foscttm"), otherwise.get("accuracy"))
            cells.append(f"{_number(score[0], 3)} ({_number(score[1], 3)})")
        lines.append(_row(cells))
    return lines


def _table(data: str, rows: Sequence[Result]) -> list[str]:
    lines = [
        f"### {data}",
        "",
        "| method | FOSCTTM, documented setting | accuracy | best of | setting | FOSCTTM | accuracy | balanced | loss "
        "| CPU s | wall s | MiB |",
        "|---" * 12 + "|",
    ]
    methods = dict.fromkeys(row["method"] for row in rows if row["kind"] not in {OTHER, DIAGNOSTIC})
    for method in sorted(methods, key=lambda name: (name == "gw_map", name)):
        mine = [row for row in rows if row["method"] == method and row["kind"] != OTHER]
        documented = next((row for row in mine if row["kind"] in {DOCUMENTED, OURS}), {})
        cells = [method]
        if "error" in documented:
            cells += [documented["error"], ""]
        else:
            cells += [_number(documented.get("foscttm"), 3), _number(documented.get("accuracy"), 3)]
        chosen = best(mine)
        done = sum("error" not in row for row in mine)
        late = sum("limit" in row.get("error", "") for row in mine)
        cells.append(f"{done}" if not late else f"{done} ({late} over the limit)")
        if chosen is not None:
            cells.append(_setting(chosen))
            cells += [_number(chosen[key], 3) for key in ("foscttm", "accuracy", "balanced")]
            cells += [_number(chosen.get("loss", {}).get("mean"), 3)]
            cells += [_number(chosen.get(key), digits) for key, digits in (("cpu", 1), ("wall", 1), ("mib", 0))]
        lines.append(_row(cells + [""] * (12 - len(cells))))
    return lines


def _setting(row: Result) -> str:
    return (label(row["arguments"]) or "documented") + ("*" if row.get("earlier") else "")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
