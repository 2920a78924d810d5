"""The defaults of `tl.sae_fit`, untouched, against settings tuned by hand on the same data.

    OMP_NUM_THREADS=1 python benchmarks/sae_defaults.py [--only NAME ...] [--processes 2] [--quick] [--write]

One default setting for all data sets: simulated ones whose directions are known (`sae/default_sets.py`), and real ones.
Around it k, width, learning rate, length and architecture are tuned one after the other (`sae/tuning.py`). Takes about
half an hour on two cores; `--quick` shows in a minute that all works.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from sae.default_report import ERROR, RECOVERY, say_tables, verdict
from sae.default_sets import NAMES
from sae.report import FAILED, say, write
from sae.tuning import compare

if TYPE_CHECKING:
    from sae.tuning import Comparison

_QUICK = ("n 2,000, d 20", "tokens, m/d 2", "pbmc68k PCs")
#: the longest first, so that no process is left with it at the end
_LONGEST = ("d 512, m/d 2", "Cell Painting tokens", "zipf", "d 128, m/d 3", "noise 30 %", "dense")


def measure(names: list[str], n_processes: int, *, quick: bool) -> list[Comparison]:
    """Compare on every data set; one that fails is named in the report and the others go on."""
    results = []
    order = sorted(names, key=lambda name: _LONGEST.index(name) if name in _LONGEST else len(_LONGEST))
    with ProcessPoolExecutor(n_processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(compare, name, quick=quick): name for name in order}
        for done in as_completed(running):
            name = running[done]
            try:
                results.append(done.result())
            except Exception as error:  # noqa: BLE001
                FAILED.append(f"{name} ({type(error).__name__}: {' '.join(str(error).split())[:200]})")
                continue
            print(f"{name}: {results[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    return results


def heading(results: list[Comparison], seconds: float, n_processes: int) -> None:
    packages = ", ".join(f"{name} {version(name)}" for name in ("saescape", "torch", "numpy"))
    say("# Defaults of the sparse autoencoder\n")
    say(
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{n_processes} process(es) of one thread, Python {platform.python_version()}; {packages}. "
        f"Written by `benchmarks/sae_defaults.py` in {seconds / 60:.0f} minutes.\n"
    )
    say(
        "`tl.sae_fit` with every argument at its default, the same call on all data, against the best of a search "
        f"around it: at least {RECOVERY:.0%} of the best MMCS and MCC where the truth is known, at most "
        f"{ERROR - 1:.0%} more FVU than the best at equal L0 where it is not.\n"
    )
    passed = [result.name for result in results if verdict(result)]
    missed = [result.name for result in results if not verdict(result)]
    say(f"**{len(passed)} of {len(results)} data sets within these bounds.**")
    if missed:
        say(f"\nMissed: {'; '.join(sorted(missed, key=NAMES.index))}.")
    left_out = [name for name in NAMES if name not in (*passed, *missed)]
    if left_out:
        say(f"\nNot measured in this run: {'; '.join(left_out)}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"data sets: {'; '.join(NAMES)}")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="three sets, four epochs: shows that it runs")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/sae_defaults.md")
    args = parser.parse_args()
    if args.quick and args.write:
        parser.error("`--quick` measures nothing worth writing.")
    start = time.perf_counter()
    names = args.only or (_QUICK if args.quick else NAMES)
    results = measure(list(names), args.processes, quick=args.quick)
    heading(results, time.perf_counter() - start, args.processes)
    say_tables(results)
    if args.quick:
        say("\nFits are too short here for the tables to mean anything.")
    if FAILED:
        say(f"\nFailed: {'; '.join(FAILED)}.")
    if args.write:
        write(Path(__file__).parent / "results" / "sae_defaults.md")
    sys.exit(bool(FAILED))


if __name__ == "__main__":
    main()
