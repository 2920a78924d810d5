"""Gromov-Wasserstein alignment of real paired data: our default beside POT's dense entropic solver.

    python benchmarks/gw_alignment.py FOLDER [NAME ...]
    python benchmarks/gw_alignment.py FOLDER --calibration

FOLDER holds ``NAME.npz`` with ``X`` (n, dx), ``Y`` (m, dy), integer labels ``lx``, ``ly`` (-1 unknown) and ``paired``.
Labels and pairing are only used to score. FOSCTTM is that of the barycentric projections in both directions, on rows of
unit length; label accuracy is the share of cells of both sides whose label is the one with most transported mass.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import anndata as ad
import numpy as np
import ot
import pandas as pd
from scipy.spatial.distance import cdist

import saescape as sae
from saescape.transport._align import Settings
from saescape.transport._significance import null_test

N_SMALL = 250
POT_EPSILON = (0.01, 0.005)
METRICS = {"gw_map default": ("cosine", "geodesic"), "gw_map geodesic": "geodesic"}


def unit_rows(x):
    return x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-12)


def score(plan, data):
    """FOSCTTM and label accuracy of a plan (rows: X), both directions."""
    plan = np.asarray(plan, float)
    x, y = unit_rows(data["X"].astype(float)), unit_rows(data["Y"].astype(float))
    rows, columns = plan / plan.sum(1, keepdims=True), (plan / plan.sum(0)).T
    foscttm = float("nan")
    if data["paired"]:
        foscttm = (sae.metrics.foscttm(rows @ y, y) + sae.metrics.foscttm(columns @ x, x)) / 2
    n_labels = 1 + max(data["lx"].max(), data["ly"].max())
    one_hot = np.eye(n_labels + 1)
    accuracy, balanced = [], []
    for conditional, own, other in ((rows, data["lx"], data["ly"]), (columns, data["ly"], data["lx"])):
        # column of unknown labels is left out; types that the other side lacks cannot be right
        predicted = (conditional @ one_hot[other])[:, :n_labels].argmax(1)
        known = np.isin(own, np.unique(other)) & (own >= 0)
        for out, flag in ((accuracy, False), (balanced, True)):
            out.append(sae.metrics.label_transfer_accuracy(own[known], predicted[known], balanced=flag))
    return {"foscttm": foscttm, "accuracy": np.mean(accuracy), "balanced": np.mean(balanced)}


def ours(data, metric):
    adata, adata_ref = (ad.AnnData(data[k].astype(np.float32)) for k in ("X", "Y"))
    for side, labels in ((adata, data["lx"]), (adata_ref, data["ly"])):
        side.obs["label"] = pd.Series(labels, side.obs_names).where(labels >= 0).astype("category")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.process_time()
        sae.tl.gw_map(
            adata,
            adata_ref,
            obs="label",
            use_rep=None,
            use_rep_ref=None,
            metric=metric,
            device="cpu",
            show_progress_bar=False,
        )
        seconds = time.process_time() - start
    result = adata.uns["gw_map"]
    order = np.sort(result["optima"]["loss"])
    return {
        **score(adata.obsm["gw_coupling"].toarray(), data),
        "loss": result["gw_loss"],
        "gap": order[1] - order[0] if len(order) > 1 else np.inf,
        "pvalue": result["pvalue"],
        "names": result["label_accuracy"].loc["label", "pvalue"],
        "ambiguous": result["ambiguous"],
        "warned": any(issubclass(w.category, UserWarning) and "may be wrong" in str(w.message) for w in caught),
        "seconds": seconds,
    }


def pot(data, epsilon):
    """POT at the setting that is best for it: Euclidean costs of unit rows over their maximum, product start."""
    costs = [cdist(unit_rows(data[k].astype(float)), unit_rows(data[k].astype(float))) for k in ("X", "Y")]
    costs = [c / c.max() for c in costs]
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.gromov.entropic_gromov_wasserstein(
            *costs, loss_fun="square_loss", epsilon=epsilon, symmetric=True, max_iter=1000, tol=1e-9, log=True
        )
    seconds = time.process_time() - start
    return {**score(plan, data), "loss": float(log["gw_dist"]), "seconds": seconds}


def blobs(rng, n_clusters):
    """Unequal normal clusters."""
    centres = 2 * rng.normal(size=(n_clusters, 8)) * np.linspace(2, 0.5, 8)
    label = rng.choice(n_clusters, N_SMALL, p=rng.dirichlet(np.full(n_clusters, 3.0)))
    return centres[label] + 0.5 * rng.normal(size=(N_SMALL, 8))


def small_pairs(stored):
    """Yield unrelated and related pairs of 250 cells: (kind, related, x, y)."""

    def simulated(rho, seed, **kwargs):
        adata, adata_ref = sae.datasets.paired(N_SMALL, N_SMALL, rho=rho, rng=seed, **kwargs)
        return adata.obsm["X_image"], adata_ref.obsm["X_pca"]

    def drawn(x, rng):
        return x[rng.choice(len(x), N_SMALL, replace=False)].astype(float)

    names = sorted(stored)
    larger = {"n_types": 8, "n_dims": 32, "noise": 0.05}
    for seed in range(14):
        rng = np.random.default_rng(seed)
        first, second = rng.choice(len(names), 2, replace=False)
        sides = rng.choice(2, 2)
        pair = (stored[names[i]]["XY"[side]] for i, side in zip((first, second), sides, strict=True))
        yield "two real data sets", False, *(drawn(x, rng) for x in pair)
    for seed in range(8):
        yield "trees, 5 branches", False, *simulated(0, seed)
        yield "trees, 8 branches", False, *simulated(0, seed + 50, **larger)
        rng = np.random.default_rng(seed)
        yield "clusters", False, blobs(rng, 6), blobs(rng, int(rng.integers(4, 9)))
    for seed in range(4):
        yield "trees, 3 branches", False, *simulated(0, seed + 80, n_types=3)
        rng = np.random.default_rng(seed)
        yield "normal", False, *(rng.normal(size=(N_SMALL, 10)) * decay ** np.arange(10) for decay in (0.7, 0.8))
    for seed in range(3):
        for name in names:
            rng = np.random.default_rng(seed)
            yield name, True, *(drawn(stored[name][side], rng) for side in "XY")
        rng = np.random.default_rng(seed)
        x = blobs(rng, 6)
        turned = x @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
        yield "clusters", True, x, np.tanh(0.4 * turned) + 0.1 * rng.normal(size=x.shape)
    for seed in range(5):
        yield "trees, 5 branches", True, *simulated(1, seed)
        yield "trees, 8 branches", True, *simulated(1, seed + 50, **larger)


def calibrate(stored, n_nulls=9):
    """The p-value of small pairs, related or not; with 9 nulls the smallest possible one is .1."""
    settings = Settings(("cosine", "geodesic"), None, 0.1, 8)
    found = {}
    for kind, related, x, y in small_pairs(stored):
        test = null_test(x, y, settings, n_nulls, np.random.default_rng(1), lambda: None)
        found.setdefault((related, kind), []).append(test.pvalue)
    print("\n| pairs | related | p |\n|---|---|---|")
    for (related, kind), values in sorted(found.items()):
        print(f"| {kind} | {'yes' if related else 'no'} | {' '.join(f'{p:.1f}' for p in sorted(values))} |")


def line(name, method, r):
    flags = {True: "yes", False: "no", None: "-"}
    numbers = [f"{r[k]:.3f}" for k in ("foscttm", "accuracy", "balanced")] + [f"{r['loss']:.4f}"]
    numbers += [f"{r.get(k, float('nan')):.3f}" for k in ("gap", "pvalue", "names")]
    cells = [name, method, *numbers, flags[r.get("ambiguous")], flags[r.get("warned")], f"{r['seconds']:.1f}"]
    return f"| {' | '.join(cells)} |".replace("nan", "-")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--no-pot", action="store_true")
    parser.add_argument("--calibration", action="store_true", help="only the p-values of small pairs")
    arguments = parser.parse_args()
    names = arguments.names or sorted(path.stem for path in arguments.folder.glob("*.npz"))
    packages = ", ".join(f"{p} {version(p)}" for p in ("saescape", "pot", "torch", "numpy"))
    print(f"{datetime.datetime.now(tz=datetime.UTC).date()}, {platform.machine()}, {packages}, CPU seconds\n")
    if arguments.calibration:
        stored = {name: np.load(arguments.folder / f"{name}.npz") for name in names}
        calibrate(stored)
        return
    print("| data | method | FOSCTTM | accuracy | balanced | loss | gap | p | label p | ambiguous | warned | CPU s |")
    print("|---" * 12 + "|")
    for name in names:
        with np.load(arguments.folder / f"{name}.npz") as stored:
            data = {key: stored[key] for key in ("X", "Y", "lx", "ly", "paired")}
        for label, metric in METRICS.items():
            print(line(name, label, ours(data, metric)), flush=True)
        for epsilon in () if arguments.no_pot else POT_EPSILON:
            print(line(name, f"POT entropic, epsilon {epsilon}", pot(data, epsilon)), flush=True)


if __name__ == "__main__":
    main()
