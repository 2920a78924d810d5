"""Is the p-value of `tl.gw_map` uniform on unrelated pairs, and small on related ones?

    python benchmarks/gw_calibration.py FOLDER --save FILE [--n-nulls 9] [--first-seed 0] [--part 0/2]
    python benchmarks/gw_calibration.py --table FILE [FILE ...]

FOLDER holds the real pairs, ``NAME.npz`` with ``X`` (n, dx) and ``Y`` (m, dy). All pairs have 250 cells a side. One
line of JSON is written per pair, so that a run can be stopped and taken up again and parts of it can run side by
side; the table is made of whatever is there. With 9 nulls of each kind the smallest possible p-value is .1.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path

import numpy as np

import saescape as sae
from saescape.transport._align import Settings
from saescape.transport._significance import NULLS, null_test

N_CELLS = 250
# defaults of `tl.gw_map`
SETTINGS = Settings(("cosine", "geodesic"), None, 0.1, 8)
LARGER = {"n_programs": 36, "n_dims": 24}


def tree(seed, n_types, rho, **kwargs):
    adata, adata_ref = sae.datasets.paired(N_CELLS, N_CELLS, n_types=n_types, rho=rho, rng=seed, **kwargs)
    return adata.obsm["X_image"].astype(float), adata_ref.obsm["X_pca"].astype(float)


def blobs(rng, n_clusters):
    """Unequal normal clusters."""
    centres = 2 * rng.normal(size=(n_clusters, 8)) * np.linspace(2, 0.5, 8)
    label = rng.choice(n_clusters, N_CELLS, p=rng.dirichlet(np.full(n_clusters, 3.0)))
    return centres[label] + 0.5 * rng.normal(size=(N_CELLS, 8))


def manifold(rng, n_dims, length, closed=False):
    """A random smooth curve, ring or surface in 8 dimensions, cells unevenly along it, with noise."""
    t = rng.beta(*rng.uniform(0.7, 2, 2), size=(N_CELLS, n_dims))
    if closed:
        t = np.concatenate([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], 1) / 2
    frequency = rng.normal(size=(t.shape[1], 300)) / length
    features = np.cos(t @ frequency + rng.uniform(0, 2 * np.pi, 300))
    x = features @ rng.normal(size=(300, 8)) * np.sqrt(2 / 300) * 0.8 ** np.arange(8)
    return x + 0.05 * rng.normal(size=x.shape)


def normal(rng):
    return rng.normal(size=(N_CELLS, 10)) * rng.uniform(0.65, 0.9) ** np.arange(10)


def drawn(x, rng):
    return x[rng.choice(len(x), N_CELLS, replace=False)].astype(float)


def two_real(rng, stored):
    """One side of one data set and one side of another."""
    names = sorted(stored)
    first, second = rng.choice(len(names), 2, replace=False)
    sides = rng.choice(2, 2)
    return tuple(drawn(stored[names[i]]["XY"[side]], rng) for i, side in zip((first, second), sides, strict=True))


def turned(x, rng):
    """Another measurement of the same points: turned, saturated, with noise."""
    y = np.tanh(0.4 * x @ np.linalg.qr(rng.normal(size=(x.shape[1],) * 2))[0])
    return x, y + 0.1 * rng.normal(size=x.shape)


def unrelated(stored):
    """Makers of unrelated pairs, and how many of each."""
    return {
        "trees, 3 branches": (lambda s, r: tree(s, 3, 0.0), 4),
        "trees, 5 branches": (lambda s, r: tree(s, 5, 0.0, **LARGER), 8),
        "trees, 8 branches": (lambda s, r: tree(s, 8, 0.0, **LARGER), 8),
        "clusters, 4 to 8": (lambda s, r: tuple(blobs(r, int(r.integers(4, 9))) for _ in range(2)), 8),
        "curves": (lambda s, r: tuple(manifold(r, 1, 0.3) for _ in range(2)), 4),
        "rings": (lambda s, r: tuple(manifold(r, 1, 0.3, closed=True) for _ in range(2)), 4),
        "surfaces": (lambda s, r: tuple(manifold(r, 2, 0.5) for _ in range(2)), 4),
        "normal clouds": (lambda s, r: (normal(r), normal(r)), 4),
        "two real data sets": (lambda s, r: two_real(r, stored), 10),
    }


def related(stored):
    """Makers of related pairs, and how many of each."""
    real = {
        name: (lambda s, r, data=data: (drawn(data["X"], r), drawn(data["Y"], r)), 2) for name, data in stored.items()
    }
    return {
        **real,
        "clusters, 6": (lambda s, r: turned(blobs(r, 6), r), 3),
        "trees, 5 branches": (lambda s, r: tree(s, 5, 1.0, **LARGER), 3),
        "trees, 8 branches": (lambda s, r: tree(s, 8, 1.0, **LARGER), 3),
    }


def jobs(stored, first_seed):
    """Kinds by turns, so that a part of the run has some of each: (kind, related, seed, maker)."""
    rows = [
        [(kind, is_related, first_seed + i, make) for i in range(n)]
        for is_related, makers in ((False, unrelated(stored)), (True, related(stored)))
        for kind, (make, n) in makers.items()
    ]
    return [job for turn in zip_longest(*rows) for job in turn if job is not None]


def run(folder, save, n_nulls, first_seed, part):
    stored = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            stored[path.stem] = {key: data[key] for key in "XY"}
    mine, parts = part
    lines = save.read_text().splitlines() if save.exists() else []
    done = {(r["kind"], r["related"], r["seed"]) for r in map(json.loads, lines)}
    for number, (kind, is_related, seed, make) in enumerate(jobs(stored, first_seed)):
        if number % parts != mine or (kind, is_related, seed) in done:
            continue
        x, y = make(seed, np.random.default_rng(seed))
        start = time.process_time()
        test = null_test(x, y, SETTINGS, n_nulls, np.random.default_rng(1), lambda: None)
        record = {
            "kind": kind,
            "related": is_related,
            "seed": seed,
            "loss": test.loss,
            "null_loss": test.null_loss.tolist(),
            "nulls": list(NULLS),
            "seconds": time.process_time() - start,
        }
        with save.open("a") as file:
            file.write(json.dumps(record) + "\n")


def table(paths):
    """Markdown of the p-values by kind, and how many are the smallest possible, also without each kind of null."""
    records = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    kinds_of_null = list(dict.fromkeys(name.split("_", 1)[1] for name in records[0]["nulls"]))
    groups = defaultdict(list)
    for record in records:
        null_loss = np.array(record["null_loss"])
        p = (1 + (null_loss <= record["loss"]).sum(1)) / (1 + null_loss.shape[1])
        named = list(zip(p, record["nulls"], strict=True))
        without = {k: max(q for q, name in named if not name.endswith(k)) for k in kinds_of_null}
        groups[record["related"], record["kind"]].append((max(p), without))
    print("| pairs | related | p | smallest | " + " | ".join(f"without {k}" for k in kinds_of_null) + " |")
    print("|---" * (4 + len(kinds_of_null)) + "|")
    total = defaultdict(lambda: np.zeros(2 + len(kinds_of_null), int))
    for (is_related, kind), found in sorted(groups.items()):
        values = sorted(p for p, _ in found)
        smallest = 1 / (1 + len(records[0]["null_loss"][0])) + 1e-9
        counts = [sum(p <= smallest for p in values)]
        counts += [sum(by[k] <= smallest for _, by in found) for k in kinds_of_null]
        total[is_related] += np.array([*counts, len(values)])
        numbers = " | ".join(f"{c} of {len(values)}" for c in counts)
        print(f"| {kind} | {'yes' if is_related else 'no'} | {' '.join(f'{p:.1f}' for p in values)} | {numbers} |")
    for is_related, counts in sorted(total.items()):
        numbers = " | ".join(f"{c} of {counts[-1]}" for c in counts[:-1])
        print(f"| **all** | {'yes' if is_related else 'no'} | | {numbers} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--save", type=Path, default=Path("gw_calibration.jsonl"))
    parser.add_argument("--n-nulls", type=int, default=9)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--part", default="0/1", help="I/N: every N-th pair, from the I-th")
    parser.add_argument("--table", type=Path, nargs="+", help="only print the table of these files")
    arguments = parser.parse_args()
    if arguments.table:
        table(arguments.table)
        return
    if arguments.folder is None:
        parser.error("FOLDER is needed to run")
    part = tuple(int(i) for i in arguments.part.split("/"))
    run(arguments.folder, arguments.save, arguments.n_nulls, arguments.first_seed, part)


if __name__ == "__main__":
    main()
