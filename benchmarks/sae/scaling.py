"""How our step and our fit grow with the data and the dictionary."""

from __future__ import annotations

import time

import numpy as np

from .data import batches, planted
from .ours import fit_ours, ours
from .report import row, say, table

_BASE = {"n": 20_000, "d": 128, "n_true": 256, "l0": 8, "m": 2048, "k": 16, "batch": 512, "steps": 200}
_N_STEPS = 8
_FACTORS = (0.5, 1, 2, 4)


def _step_seconds(setting: dict) -> float:
    x = planted(setting).x
    step = ours(x, setting, "topk")
    times = []
    for batch in batches(x, setting["batch"], _N_STEPS + 2):
        start = time.process_time()
        step(batch)
        times.append(time.process_time() - start)
    return float(np.median(times[2:]))


def _fit_seconds(setting: dict) -> float:
    data = planted(setting)
    # two passes, whatever the number of rows
    setting = setting | {"steps": round(2 * setting["n"] / setting["batch"])}
    start = time.process_time()
    fit_ours(data.x, data.held_out, setting, "topk")
    return time.process_time() - start


def measure_scaling(n_rounds: int, shrink: int = 1) -> None:
    """Double one size at a time and fit a power law (least squares of the logarithms)."""
    base = _BASE | {"n": _BASE["n"] // shrink, "m": _BASE["m"] // shrink}
    say(f"\n### Scaling of topk: one size changes, the others are d 128, m {base['m']}, k 16, batch 512\n")
    table("", "sizes", "CPU ms", "fitted exponent")
    for name, factors in {
        "d": (0.5, 1, 2, 4),
        "m": (0.5, 1, 2, 4),
        "k": (0.5, 1, 2, 4),
        "batch": (0.5, 1, 2, 4),
    }.items():
        sizes = [int(base[name] * factor) for factor in factors]
        seconds = [min(_step_seconds(base | {name: size}) for _ in range(n_rounds)) for size in sizes]
        _row(f"step in {name}", sizes, seconds)
    sizes = [int(base["n"] * factor) for factor in _FACTORS]
    seconds = [min(_fit_seconds(base | {"n": size}) for _ in range(max(1, n_rounds // 2))) for size in sizes]
    _row("fit of two passes in n, with encoding", sizes, seconds)


def _row(label: str, sizes: list[int], seconds: list[float]) -> None:
    exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    shown = ", ".join(f"{1e3 * each:.1f}" for each in seconds)
    row(label, ", ".join(f"{size:,}" for size in sizes), shown, f"{exponent:.2f}")
