"""Are the claims about superposition, decoding, alignment and the statistics true of this package?

    OMP_NUM_THREADS=1 python benchmarks/claims.py [--parts T3 T4 ...] [--seeds 3] [--write]

Simulated data with known truth, public functions with default settings, thresholds set before measuring. One process,
about a quarter of an hour; with `--parts` the sections measured replace those of results/claims.md.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
import warnings
from importlib import import_module
from pathlib import Path

from claims import simulated
from claims.report import write

PARTS = {
    "T1": "no_superposition",
    "T2": "contamination",
    "T3": "recovery",
    "T4": "decoding",
    "T5": "score_order",
    "T6": "batches",
    "T7": "calibration",
    "T8": "concepts",
    "T9": "nuisance",
    "T10": "trajectory",
    "T11": "gw_identifiable",
    "T12": "gw_unrelated",
    "T13": "gw_mirror",
    "T14": "gw_unmatched",
    "T15": "gw_superposition",
    "T17": "images",
    "T18": "gw_probabilities",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="T1")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/claims.md")
    parser.add_argument("--fits", type=Path, help="folder in which fits are kept between runs")
    args = parser.parse_args()
    simulated.KEPT[:] = [args.fits] if args.fits else []
    warnings.simplefilter("ignore")
    logging.disable()
    note = " (without fits kept from a run before, about 16 each)" if args.fits else ""
    sections, failed = {}, []
    for name in args.parts:
        start = time.process_time()
        try:
            claim = import_module(f"claims.{PARTS[name]}").run(list(range(args.seeds)))
        except Exception:  # noqa: BLE001
            # one that fails does not take the others with it
            traceback.print_exc()
            failed.append(name)
            continue
        sections[name] = claim.section(time.process_time() - start, args.seeds, note)
        print(sections[name], flush=True)
        if args.write:
            write(Path(__file__).parent / "results" / "claims.md", sections)
    sys.exit(f"Failed: {failed}" if failed else 0)


if __name__ == "__main__":
    main()
