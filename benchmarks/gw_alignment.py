"""Gromov-Wasserstein alignment of real paired data: our default beside POT's dense entropic solver.

    python benchmarks/gw_alignment.py FOLDER [NAME ...]

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
from scipy.spatial.distance import cdist

import saescape as sae

POT_EPSILON = (0.01, 0.005)


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
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.process_time()
        sae.tl.gw_map(
            adata, adata_ref, use_rep=None, use_rep_ref=None, metric=metric, device="cpu", show_progress_bar=False
        )
        seconds = time.process_time() - start
    result = adata.uns["gw_map"]
    order = np.sort(result["optima"]["loss"])
    return {
        **score(adata.obsm["gw_coupling"].toarray(), data),
        "loss": result["gw_loss"],
        "gap": order[1] - order[0] if len(order) > 1 else np.inf,
        "pvalue": result["pvalue"],
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


def line(name, method, r):
    ambiguous = {True: "yes", False: "no"}.get(r.get("ambiguous"), "-")
    return (
        f"| {name} | {method} | {r['foscttm']:.3f} | {r['accuracy']:.3f} | {r['balanced']:.3f} | {r['loss']:.4f} "
        f"| {r.get('gap', float('nan')):.3f} | {r.get('pvalue', float('nan')):.3f} | {ambiguous} "
        f"| {'yes' if r.get('warned') else 'no' if 'warned' in r else '-'} | {r['seconds']:.1f} |"
    ).replace("nan", "-")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--no-pot", action="store_true")
    arguments = parser.parse_args()
    names = arguments.names or sorted(path.stem for path in arguments.folder.glob("*.npz"))
    packages = ", ".join(f"{p} {version(p)}" for p in ("saescape", "pot", "torch", "numpy"))
    print(f"{datetime.datetime.now(tz=datetime.UTC).date()}, {platform.machine()}, {packages}, CPU seconds\n")
    print("| data | method | FOSCTTM | accuracy | balanced | loss | gap | p | ambiguous | warned | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name in names:
        with np.load(arguments.folder / f"{name}.npz") as stored:
            data = {key: stored[key] for key in ("X", "Y", "lx", "ly", "paired")}
        for label, metric in (("gw_map default", "geodesic"), ("gw_map cosine + geodesic", ("cosine", "geodesic"))):
            print(line(name, label, ours(data, metric)), flush=True)
        for epsilon in () if arguments.no_pot else POT_EPSILON:
            print(line(name, f"POT entropic, epsilon {epsilon}", pot(data, epsilon)), flush=True)


if __name__ == "__main__":
    main()
