"""Peak memory of a trainer and its first steps above the data, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

from .data import batches, planted, quick
from .ours import OURS, ours
from .peers import PEERS, build_peer, is_installed
from .report import NUMBERS, failed, row, say, table
from .timing import is_topk

CHILD = "--memory-child"
_N_STEPS = 4
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """Highest resident memory of a block above that at its start, in MiB."""

    def __enter__(self) -> Peak:
        import psutil

        self._process, self._done = psutil.Process(), threading.Event()
        try:
            # Linux counts itself; the counter starts again here
            _CLEAR.write_text("5")
            self._thread = None
        except OSError:
            self._thread = threading.Thread(target=self._watch, daemon=True)
        self.base = self.highest = self._process.memory_info().rss
        if self._thread is not None:
            self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.is_set():
            self.highest = max(self.highest, self._process.memory_info().rss)
            time.sleep(0.002)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread is None:
            line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
            self.highest = 1024 * int(line.split()[1])
        else:
            self._thread.join()
        self.mib = (self.highest - self.base) / 2**20


def child(arguments: str) -> None:
    """What runs in the process of one trainer."""
    task = json.loads(arguments)
    torch.set_num_threads(task["threads"])
    x, setting, name = np.load(task["x"]), task["setting"], task["name"]
    # imports, and pages that libraries touch once
    _run(name, x[: setting["batch"], :32].copy(), quick(setting))
    with Peak() as peak:
        _run(name, x, setting)
    print(json.dumps({"mib": peak.mib}))


def _run(name: str, x: np.ndarray, setting: dict) -> None:
    step = ours(x, setting, OURS[name]) if name in OURS else build_peer(name, x, setting).step
    for batch in batches(x, min(setting["batch"], len(x)), _N_STEPS):
        step(batch)


def measure_memory(name: str, setting: dict, entry: Path, threads: int) -> None:
    say(f"\n### Peak memory of building a trainer and {_N_STEPS} steps above the data, {name}\n")
    table("", "MiB")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        np.save(path, planted(setting).x)
        for label in [*OURS, *filter(is_topk, PEERS)]:
            if label in PEERS and not is_installed(label):
                row(label, "not installed")
                continue
            task = {"x": str(path), "setting": setting, "name": label, "threads": threads}
            command = [sys.executable, str(entry), CHILD, json.dumps(task)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                failed(label, RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1]), 2)
                continue
            mib = json.loads(done.stdout.strip().splitlines()[-1])["mib"]
            NUMBERS["memory", name, label, "mib"] = mib
            row(label, f"{mib:.0f}")
