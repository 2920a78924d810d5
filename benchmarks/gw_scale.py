"""Time and memory of `tl.gw_map` from 1,000 to 100,000 cells a side, and its accuracy beside the dense solution.

    python benchmarks/gw_scale.py WORKDIR [--sizes 1000 5000 20000 100000] [--threads 1] [--data NAME.npz]

WORKDIR keeps the data between calls. Without ``--data`` these are ``datasets.paired`` with 8 cell types; with it, a
real pair as in ``gw_alignment.py``, resampled: each cell is a point between a drawn cell and one of its neighbors, the
same mixture on both sides. The sizes are nested subsamples of the largest. Each run is a process of its own; memory is
its peak beyond what it held before `gw_map` (packages and data). FOSCTTM is that of 2,000 pairs, the same for all
sizes, among themselves: forward (`obsm["X_gw"]`), and of the stored sparse plan, the mean of both directions.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

N_SCORED = 2000


def simulated(n):
    import saescape as sae

    adata, adata_ref = sae.datasets.paired(n, n, n_types=8, n_dims=24, rng=1)
    partner = adata_ref.obs_names.get_indexer(adata.obs["partner"].astype(str))
    kinds = [side.obs["cell_type"].cat.codes.to_numpy() for side in (adata, adata_ref)]
    x, y = adata.obsm["X_image"], adata_ref.obsm["X_pca"].astype(np.float32)
    return {"x": x, "y": y[partner], "lx": kinds[0], "ly": kinds[1][partner]}


def resampled(path, n, n_neighbors=5):
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    data = np.load(path)
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (data["X"], data["Y"]))
    near = NearestNeighbors(n_neighbors=n_neighbors + 1).fit(np.hstack([x, y])).kneighbors(return_distance=False)
    cell = rng.integers(len(x), size=n)
    other = near[cell, rng.integers(n_neighbors, size=n)]
    share = rng.uniform(0, 0.5, (n, 1))
    mixed = [((1 - share) * side[cell] + share * side[other]).astype(np.float32) for side in (x, y)]
    return {"x": mixed[0], "y": mixed[1], "lx": data["lx"][cell], "ly": data["ly"][cell]}


def run(path, n, options):
    """Body of the process that is measured: the first `n` pairs, the reference in random order."""
    import anndata as ad
    import scipy.sparse  # noqa: F401
    import torch

    import saescape as sae

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with np.load(path) as data:
        x, y, lx, ly = (data[name][:n].copy() for name in ("x", "y", "lx", "ly"))
    order = np.random.default_rng(0).permutation(n)
    adata, adata_ref = ad.AnnData(obsm={"X_image": x}), ad.AnnData(obsm={"X_pca": y[order]})
    adata.obs["kind"], adata_ref.obs["kind"] = pd.Categorical(lx.astype(str)), pd.Categorical(ly[order].astype(str))
    adata.obs_names, adata_ref.obs_names = [f"image_{i}" for i in range(n)], [f"rna_{i}" for i in order]
    warnings.simplefilter("ignore")
    sae.tl.gw_map(adata[:50].copy(), adata_ref[:50].copy(), use_rep="X_image", n_nulls=0, show_progress_bar=False)

    def cpu():
        return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])

    before = resident()
    # the peak so far is forgotten
    Path("/proc/self/clear_refs").write_text("5")
    start, start_cpu = time.perf_counter(), cpu()
    sae.tl.gw_map(adata, adata_ref, obs="kind", use_rep="X_image", device="cpu", show_progress_bar=False, **options)
    result = {"wall s": time.perf_counter() - start, "CPU s": cpu() - start_cpu}
    result["peak GiB"] = (resident("VmHWM") - before) / 2**30

    scored = np.arange(min(n, N_SCORED))
    back = np.empty(n, int)
    back[order] = np.arange(n)
    plan = adata.obsm["gw_coupling"].astype(float)
    truth, truth_ref = unit(y[scored]), unit(x[scored])
    forward = (plan @ unit(y[order]) / np.asarray(plan.sum(1)).reshape(-1, 1))[scored]
    backward = (plan.T @ unit(x) / np.asarray(plan.sum(0)).reshape(-1, 1))[back[scored]]
    result["FOSCTTM"] = sae.metrics.foscttm(unit(adata.obsm["X_gw"][scored]), truth)
    result["sparse"] = (sae.metrics.foscttm(forward, truth) + sae.metrics.foscttm(backward, truth_ref)) / 2
    entry = adata.uns["gw_map"]
    result["accuracy"] = float(np.mean(adata.obs["gw_kind"].astype(str) == adata.obs["kind"].astype(str)))
    result |= {"loss": entry["gw_loss"], "dropped": entry["dropped_mass"], "entries": int(plan.nnz)}
    result |= {"p": entry["pvalue"], "ambiguous": entry["ambiguous"], "converged": entry["converged"]}
    result["marginals"] = entry["marginal_error"]
    print(json.dumps({k: float(v) for k, v in result.items()}))


def resident(field="VmRSS"):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(field)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def in_process(path, n, threads, **options):
    environment = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "NUMBA", "OPENBLAS")}
    command = [sys.executable, __file__, "--run", str(path), str(n), json.dumps(options)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    result = json.loads(done.stdout.splitlines()[-1])
    return {"cells": n, "method": options.get("label", options.get("method", "auto")), **result}


def table(rows):
    frame = pd.DataFrame(rows)
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * len(frame.columns)]
    lines += ["| " + " | ".join(map(shown, row)) + " |" for row in frame.itertuples(index=False)]
    return "\n".join(lines)


def shown(value):
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 5000, 20_000, 100_000])
    parser.add_argument("--largest", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--dense", type=int, metavar="N", help="also POT's dense solver, with geodesics, on N pairs")
    args = parser.parse_args()
    args.workdir.mkdir(parents=True, exist_ok=True)
    name = "simulated" if args.data is None else args.data.stem
    path = args.workdir / f"{name}_{args.largest}.npz"
    if not path.exists():
        data = simulated(args.largest) if args.data is None else resampled(args.data, args.largest)
        np.savez(path, **data)
    packages = ", ".join(f"{p} {version(p)}" for p in ("saescape", "pot", "torch", "numpy", "scipy"))
    print(f"{name}, {datetime.date.today()}, {platform.machine()}, {packages}, {args.threads} thread(s)\n")
    rows = []
    for n in args.sizes:
        rows.append(in_process(path, n, args.threads))
        print(table(rows[-1:]), flush=True)
    print("\n" + table(rows), flush=True)
    for column in ("wall s", "CPU s", "peak GiB"):
        steps = np.diff(np.log([r[column] for r in rows])) / np.diff(np.log([r["cells"] for r in rows]))
        print(f"log-log slopes of {column}: " + ", ".join(f"{s:.2f}" for s in steps))
    if args.dense is not None:
        geodesic = [
            in_process(path, args.dense, args.threads, metric="geodesic", method=method, n_starts=3, n_nulls=1)
            for method in ("auto", "pot")
        ]
        print("\n" + table(geodesic))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--run":
        run(sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
    else:
        main()
