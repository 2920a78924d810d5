"""Time of a training step, in interleaved rounds of one process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from .data import batches, planted
from .ours import OURS, ours
from .peers import PEERS, build_peer, is_installed
from .report import NUMBERS, failed, row, say, table

if TYPE_CHECKING:
    from collections.abc import Callable

PRODUCT = "encoder product alone"
REFERENCE = "saescape topk"
#: the larger settings, where a step of some takes seconds, compare TopK only
_ONLY_TOPK = {"C", "D", "E"}
_COLUMNS = ("", "median ms", "min ms", "CPU ms", "x ours", "CPU x ours", "rows/s")


def encoder_product(x: np.ndarray, setting: dict) -> Callable[[torch.Tensor], torch.Tensor]:
    """The dense product alone: nothing with a dense encoder can be faster."""
    generator = torch.Generator().manual_seed(0)
    weights, bias = torch.randn(setting["m"], x.shape[1], generator=generator), torch.zeros(setting["m"])
    out = torch.empty(setting["batch"], setting["m"])
    return lambda batch: torch.addmm(bias, batch, weights.t(), out=out)


def is_topk(name: str) -> bool:
    return "topk" in name.split()[1:]


def time_steps(name: str, setting: dict, n_rounds: int, n_steps: int) -> None:
    say(f"\n### Step, {name}: d {setting['d']}, m {setting['m']}, k {setting['k']}, batch {setting['batch']}\n")
    table(*_COLUMNS)
    x = planted(setting).x
    some = list(batches(x, setting["batch"], n_steps))
    # a schedule as of a long run, so that nobody is at its end
    long = setting | {"steps": 5000}
    steps: dict[str, Callable] = {PRODUCT: encoder_product(x, setting)}
    for label in [*OURS, *PEERS]:
        if name in _ONLY_TOPK and not is_topk(label):
            continue
        if label in PEERS and not is_installed(label):
            row(label, "not installed", *[""] * (len(_COLUMNS) - 2))
            continue
        try:
            step = ours(x, long, OURS[label]) if label in OURS else build_peer(label, x, long).step
            step(some[0])
            step(some[-1])
        except Exception as error:  # noqa: BLE001
            failed(label, error, len(_COLUMNS))
            continue
        steps[label] = step
    wall, cpu = _rounds(steps, some, n_rounds)
    for label in sorted(wall, key=lambda each: float(np.median(cpu[each]))):
        # paired within rounds: the load of the machine changes between them
        ratio, cpu_ratio = (
            float(np.median(np.sum(times[label], 1) / np.sum(times[REFERENCE], 1))) if REFERENCE in times else np.nan
            for times in (wall, cpu)
        )
        median, median_cpu = float(np.median(wall[label])), float(np.median(cpu[label]))
        for what, value in {"wall": ratio, "cpu": cpu_ratio, "cpu ms": 1e3 * median_cpu}.items():
            NUMBERS["step", name, label, what] = value
        cells = (1e3 * median, 1e3 * np.min(wall[label]), 1e3 * median_cpu)
        row(
            label,
            *(f"{cell:.1f}" for cell in cells),
            f"{ratio:.2f}",
            f"{cpu_ratio:.2f}",
            f"{len(some[0]) / median:,.0f}",
        )


def _rounds(steps: dict[str, Callable], some: list[torch.Tensor], n_rounds: int):
    wall: dict[str, list[list[float]]] = {label: [] for label in steps}
    cpu: dict[str, list[list[float]]] = {label: [] for label in steps}
    for _ in range(n_rounds):
        for label, step in steps.items():
            # its memory has left the caches since its last turn
            step(some[0])
            times, cpu_times = [], []
            for batch in some:
                start, start_cpu = time.perf_counter(), time.process_time()
                step(batch)
                times.append(time.perf_counter() - start)
                cpu_times.append(time.process_time() - start_cpu)
            wall[label].append(times)
            cpu[label].append(cpu_times)
    return wall, cpu
