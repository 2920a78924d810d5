"""The bars that a release has to hold, as rows: bar, measured, met or missed."""

from __future__ import annotations

from .data import SETTINGS
from .report import NUMBERS, row, say, table

_OURS, _BATCHTOPK = "saescape topk", "saescape batchtopk"


def _step(setting: str, other: str, label: str = _OURS) -> float | None:
    """CPU time of a step as a share of that of another trainer."""
    ours = NUMBERS.get(("step", setting, label, "cpu"))
    theirs = NUMBERS.get(("step", setting, other, "cpu"))
    return None if ours is None or theirs is None else ours / theirs


def _quality(setting: str, what: str, offset: str = "1x", label: str = _OURS) -> float | None:
    return NUMBERS.get(("quality", setting, label, f"{what}, own, {offset}"))


def _spread(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) - min(known) if len(known) == len(values) else None


def say_bars() -> None:
    say("\n### Bars\n")
    say("Ratios of steps are those of CPU time in paired rounds; with one thread other load counts little there.\n")
    table("bar", "measured", "")
    for setting, limit in {"A": 0.70, "B": 0.65, "C": 0.45, "D": 0.45}.items():
        _bar(f"topk step / sparsify topk, {setting}", _step(setting, "sparsify topk"), "<=", limit)
    for setting, limit in {"A": 0.25, "C": 0.17}.items():
        _bar(f"topk step / SAELens topk, {setting}", _step(setting, "SAELens topk"), "<=", limit)
    for setting in ("A", "B"):
        _bar(f"batchtopk step / topk step, {setting}", _step(setting, _OURS, _BATCHTOPK), "<=", 1.25)
    _bar("topk step / its encoder product, A", _step("A", "encoder product alone"), "<=", 1.3)
    _bar("peak memory above the data, A, MiB", NUMBERS.get(("memory", "A", _OURS, "mib")), "<=", 130)
    _bar("held-out FVU, A, 300 steps, offset 1x", _quality("A", "fvu"), "<=", 0.13)
    _bar("MCC of directions, A, 300 steps, offset 1x", _quality("A", "mcc"), ">=", 0.985)
    recovered = [_quality("B", "mcc", offset) for offset in ("0x", "1x", "5x")]
    for offset, value in zip(("0x", "1x", "5x"), recovered, strict=True):
        _bar(f"MCC of directions, B, offset {offset}", value, ">=", 0.985)
    _bar("spread of these three", _spread(recovered), "<=", 0.005)
    _bar("MCC of directions, many rows, two passes", _quality("many rows", "mcc"), ">=", 0.97)
    _bar("encoding / product alone, d 512, m 4096", NUMBERS.get(("encoding", "512", "4096", "of product")), ">=", 0.6)
    _bar("encoding / dense then CSR, d 512, m 4096", NUMBERS.get(("encoding", "512", "4096", "of dense")), ">=", 1.6)
    active = _quality("B", "l0 train", label=_BATCHTOPK)
    _bar(
        "batchtopk L0 / k - 1 on the training rows, B",
        None if active is None else abs(active / SETTINGS["B"]["k"] - 1),
        "<=",
        0.02,
    )


def _bar(what: str, measured: float | None, sign: str, limit: float) -> None:
    if measured is None:
        row(f"{what} {sign} {limit:g}", "", "not measured")
        return
    met = measured <= limit if sign == "<=" else measured >= limit
    row(
        f"{what} {sign} {limit:g}",
        f"{measured:.3f}" if limit < 10 else f"{measured:.0f}",
        "met" if met else "**missed**",
    )
