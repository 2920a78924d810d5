"""Each run in a process of its own, one thread, with its CPU seconds and peak memory; what is done is kept as JSON."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import itertools
import json
import multiprocessing
import resource
import signal
import time
import warnings
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import ours, peers
from .costs import common_loss, store_scored
from .data import SIMULATED, Pair, folder_of, load, store_simulated
from .scores import score

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from .grid import Job

# processes start with the libraries already imported, which is neither the time nor the memory of a method
_FORK = multiprocessing.get_context("fork")
_IMPORTED = {"moscot": ["moscot.problems.cross_modality"], "gw_map": ["torch", "saescape.tl._gw_map"]}
_ALWAYS = ["ot", "sklearn.neighbors", "sklearn.cluster"]
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def prepare(name: str, folder: Path, cache: Path) -> Pair:
    """Load a pair; once, simulate it where it is simulated, and store its standardised distances."""
    cache.mkdir(parents=True, exist_ok=True)
    if not costs_path(cache, name).exists():
        # in a process of its own: what it leaves behind in the heap would hide what a method needs
        storing = _FORK.Process(target=_store, args=(name, folder, cache))
        storing.start()
        storing.join()
    return load(folder_of(name, folder, cache), name)


def run_all(todo: list[Job], pairs: dict[str, Pair], cache: Path, *, limit: int, n_workers: int) -> None:
    """Run all jobs that are not in the cache."""
    waiting = [job for job in todo if not (cache / _slug(job)).exists() and peers.missing(job.method) is None]
    waiting.sort(key=lambda job: (job.rank, len(pairs[job.data].x)))
    _import({job.method for job in waiting})
    running: dict[Connection, tuple[Job, BaseProcess]] = {}
    while waiting or running:
        while waiting and len(running) < n_workers:
            job = waiting.pop(0)
            receiver, sender = _FORK.Pipe(duplex=False)
            process = _FORK.Process(target=_child, args=(job, pairs[job.data], cache, limit, sender))
            process.start()
            sender.close()
            running[receiver] = (job, process)
        for receiver in wait(list(running)):
            job, process = running.pop(receiver)
            result = _received(receiver, process, limit)
            result = {"data": job.data, "method": job.method, "arguments": job.arguments, "when": _now(), **result}
            (cache / _slug(job)).write_text(json.dumps(result), encoding="utf-8")
            shown = {key: value for key, value in result.items() if key in {"foscttm", "accuracy", "cpu", "error"}}
            print(job.data, job.method, job.arguments, shown, flush=True)


def stored(job: Job, cache: Path) -> dict[str, Any]:
    """Result of a job, or why there is none."""
    path = cache / _slug(job)
    if path.exists():
        return {**json.loads(path.read_text(encoding="utf-8")), "kind": job.kind}
    package = peers.missing(job.method)
    error = "not run" if package is None else f"{package} is not installed"
    return {"data": job.data, "method": job.method, "arguments": job.arguments, "kind": job.kind, "error": error}


def _received(receiver: Connection, process: BaseProcess, limit: int) -> dict[str, Any]:
    try:
        result = receiver.recv()
    except EOFError:
        result = None
    process.join()
    if result is not None:
        return result
    if process.exitcode in {-signal.SIGXCPU, -signal.SIGKILL}:
        return {"error": f"over the limit of {limit} CPU s"}
    return {"error": f"ended with code {process.exitcode}"}


def _child(job: Job, pair: Pair, cache: Path, limit: int, sender: Connection) -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    try:
        sender.send(_measure(job, pair, costs_path(cache, job.data)))
    except Exception as error:  # noqa: BLE001
        # a peer that fails is a finding
        sender.send({"error": f"{type(error).__name__}: {error}"[:200]})


def _measure(job: Job, pair: Pair, costs: Path) -> dict[str, Any]:
    _warm_up(job, pair)
    base = _restart_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    plan, verdict = _call(job.method, pair, job.arguments)
    result = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "mib": (_peak() - base) / 2**20}
    if not np.isfinite(plan).all() or plan.sum() < 0.5:
        return {"error": "no coupling: not finite, or most of the mass lost"}
    result |= score(plan, pair) | verdict
    result["loss"] = common_loss(plan, costs)
    if pair.paired:
        result["truth_loss"] = common_loss(pair.truth(), costs)
    return result


def _call(method: str, pair: Pair, arguments: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    if method in ours.METHODS:
        return ours.METHODS[method](pair, **arguments)
    return peers.METHODS[method](pair, **arguments), {}


def _warm_up(job: Job, pair: Pair, n: int = 40) -> None:
    """Run once on a few cells: pages that libraries touch once are not the method's memory."""
    rng = np.random.default_rng(0)
    rows, columns = (np.sort(rng.choice(len(x), n, replace=False)) for x in (pair.x, pair.y))
    few = Pair(pair.x[rows], pair.y[columns], pair.labels_x[rows], pair.labels_y[columns], paired=True)
    arguments: dict[str, Any] = {key: 8 for key in ("rank", "n_parts") if key in job.arguments}
    arguments |= {"POT proximal": {"max_iter": 2}, "gw_map": {"n_nulls": 1}}.get(job.method, {})
    try:
        _call(job.method, few, arguments)
    except Exception:  # noqa: BLE001
        # the run itself says what is wrong
        return


def _import(methods: set[str]) -> None:
    wanted = [names for start, names in _IMPORTED.items() if any(method.startswith(start) for method in methods)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in itertools.chain(_ALWAYS, *wanted):
            importlib.import_module(name)


def _restart_peak() -> int:
    # Linux keeps the highest resident memory of a process; the counter starts again here
    _CLEAR.write_text("5")
    return _peak()


def _peak() -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _store(name: str, folder: Path, cache: Path) -> None:
    if name in SIMULATED:
        store_simulated(cache, name)
    store_scored(load(folder_of(name, folder, cache), name), costs_path(cache, name))


def _now() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M}"


def costs_path(cache: Path, name: str) -> Path:
    return cache / f"{name.replace(' ', '_')}_costs.npz"


def _slug(job: Job) -> str:
    digest = hashlib.sha256(json.dumps(job.arguments, sort_keys=True).encode()).hexdigest()[:10]
    return f"{job.data}-{job.method}-{digest}.json".replace(" ", "_")
