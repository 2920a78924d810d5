"""Gromov-Wasserstein alignment side by side with POT, moscot and the SCOT procedure.

    python benchmarks/gw_alignment.py FOLDER --cache CACHE [--names NAME ...] [--methods METHOD ...] [--write]

FOLDER holds ``NAME.npz`` with ``X`` (n, dx), ``Y`` (m, dy), integer labels ``lx``, ``ly`` (-1 unknown) and ``paired``;
two simulated pairs are added. `tl.gw_map` has its one default everywhere; peers are run at documented settings and on a
small grid, and the best of it is chosen with the truth (`alignment/grid.py`). Every run is a process of its own with
one thread; results are kept in CACHE, so that a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from alignment.costs import paired_correlation
from alignment.data import names
from alignment.grid import jobs
from alignment.report import page, write
from alignment.runs import costs_path, prepare, run_all, stored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the results of single runs")
    parser.add_argument("--names", nargs="+", help="data sets; all by default")
    parser.add_argument("--methods", nargs="+", help="methods; all by default")
    parser.add_argument("--limit", type=int, default=360, help="CPU seconds per run")
    parser.add_argument("--workers", type=int, default=1, help="runs at the same time")
    parser.add_argument("--cached", action="store_true", help="no new runs: the page of what is in CACHE")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/gw_alignment.md")
    args = parser.parse_args()

    pairs = {name: prepare(name, args.folder, args.cache) for name in args.names or names(args.folder)}
    todo = [job for name, pair in pairs.items() for job in jobs(name, pair)]
    todo = [job for job in todo if args.methods is None or job.method in args.methods]
    if not args.cached:
        run_all(todo, pairs, args.cache, limit=args.limit, n_workers=args.workers)
    correlations = {
        name: paired_correlation(pair, costs_path(args.cache, name)) for name, pair in pairs.items() if pair.paired
    }
    measured = page([stored(job, args.cache) for job in todo], correlations, args.limit)
    print(measured)
    if args.write:
        write(Path(__file__).parent / "results" / "gw_alignment.md", measured)


if __name__ == "__main__":
    main()
