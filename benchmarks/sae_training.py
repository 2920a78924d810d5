"""Sparse-autoencoder training side by side with SAELens, dictionary_learning, overcomplete and sparsify.

    python benchmarks/sae_training.py [--threads 1] [--parts step memory ...] [--settings A B] [--quick] [--write]

Steps run in interleaved rounds in one process, so that load of the machine hits everybody alike: compare ratios of one
run, not milliseconds of two. Who is not installed is said to be absent; `sae/peers.py` says how to install them next to
a CPU build of torch. A full run takes about an hour on one core; `--quick` shows in a few minutes that all works.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from sae.bars import say_bars
from sae.data import SETTINGS, quick
from sae.encoding import SIZES, measure_encoding
from sae.memory import CHILD, child, measure_memory
from sae.quality import measure_quality
from sae.report import FAILED, say, write
from sae.scaling import measure_scaling
from sae.timing import time_steps

PARTS = ("step", "memory", "quality", "encoding", "scaling")
DISTRIBUTIONS = ("saescape", "torch", "numpy", "sae-lens", "dictionary-learning", "eai-sparsify", "overcomplete")
#: steps are short in some settings, and take seconds in others
FACTORS = {"B": 4, "E": 4, "C": 0.5, "D": 0.5}
#: offsets of the data, and who takes part
QUALITY = {"A": ([1.0], "topk"), "B": ([1.0, 0.0, 5.0], "all"), "many rows": ([1.0], "ours")}


def heading(args: argparse.Namespace) -> None:
    packages = []
    for name in DISTRIBUTIONS:
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            packages.append(f"{name} not installed")
    say("# Sparse-autoencoder training\n")
    say(
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{args.threads} thread(s), Python {platform.python_version()}; {', '.join(packages)}. "
        f"Written by `benchmarks/sae_training.py`. Load (1 min) at the start: {os.getloadavg()[0]:.1f}; "
        "read ratios, not milliseconds.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="steps per round")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/sae_training.md")
    parser.add_argument(CHILD, help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.memory_child is not None:
        child(args.memory_child)
        return
    if args.quick and args.write:
        parser.error("`--quick` measures nothing worth writing.")
    torch.set_num_threads(args.threads)
    np.seterr(all="ignore")
    settings = {name: quick(SETTINGS[name]) if args.quick else SETTINGS[name] for name in args.settings}
    n_rounds = 2 if args.quick else args.rounds
    heading(args)
    for name, setting in settings.items():
        if "step" in args.parts and name != "many rows":
            n_steps = args.steps * FACTORS.get(name, 1)
            time_steps(name, setting, n_rounds, max(2, int(n_steps)))
    if "memory" in args.parts and "A" in settings:
        measure_memory("A", settings["A"], Path(__file__), args.threads)
    if "quality" in args.parts:
        for name, (offsets, who) in QUALITY.items():
            if name in settings:
                measure_quality(name, settings[name], offsets, who=who)
    if "encoding" in args.parts:
        measure_encoding([(32, 128, 6)] if args.quick else SIZES, 2_000 if args.quick else 20_000, n_rounds)
    if "scaling" in args.parts:
        measure_scaling(1 if args.quick else 3, shrink=10 if args.quick else 1)
    if args.quick:
        say("\nSizes are tiny here, so neither the tables nor the bars mean anything.")
    say_bars()
    if FAILED:
        say(f"\nFailed: {', '.join(sorted(set(FAILED)))}.")
    if args.write:
        write(Path(__file__).parent / "results" / "sae_training.md")
    sys.exit(any(name.startswith("saescape") for name in FAILED))


if __name__ == "__main__":
    main()
