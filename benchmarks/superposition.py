"""Does the superposition score follow the true contamination, is its p-value calibrated, what does it cost?

Run ``python benchmarks/superposition.py [results.md]``; takes a quarter of an hour on two idle cores.
"""

from __future__ import annotations

import itertools
import os
import platform
import resource
import sys
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import anndata as ad
import numpy as np
from scipy import sparse, stats
from superposition_gain import gain_lines
from superposition_trained import calibration_trained, contamination_trained

import saescape as sae
from saescape.superposition._interference import scale_codes
from saescape.superposition._nulls import assignment_null, usage_null

MEASURES = {
    "score (S11)": lambda u: u["score"],
    "1 - mean dimensionality": lambda u: 1 - u["measures"].loc["mean_dimensionality", "value"],
    "crowding alone": lambda u: u["measures"].loc["crowding", "value"],
    "overlap alone": lambda u: u["measures"].loc["overlap", "value"],
    "effective features per dimension": lambda u: u["measures"].loc["effective_features_per_dimension", "value"],
    "features per dimension": lambda u: u["measures"].loc["features_per_dimension", "value"],
    "max cosine": lambda u: u["measures"].loc["max_cosine", "value"],
    "mean cosine": lambda u: u["measures"].loc["mean_abs_cosine", "value"],
    "frame potential excess": lambda u: u["measures"].loc["frame_potential_excess", "value"],
}


def with_codes(adata, codes, decoder, use_rep):
    adata.obsm["X_sae"] = sparse.csr_matrix(codes, dtype=np.float32)
    adata.uns["sae"] = {"weights": {"W_dec": decoder}, "params": {"use_rep": use_rep}, "metrics": {"fvu": 0.0}}
    return adata


def contamination(n_positions):
    """Measures and true contamination over a grid of m/d, density and coherence, true codes and dictionary."""
    rows = []
    grid = itertools.product((0.5, 1, 2, 4, 8), (0.01, 0.03, 0.1), (0.0, 0.3, 0.6), (0, 1))
    for ratio, density, coherence, seed in grid:
        # with one position per cell the density has to leave something in it
        adata = sae.datasets.superposition(
            300,
            n_positions=n_positions,
            n_dims=32,
            n_concepts=int(32 * ratio),
            density=density if n_positions > 1 else 3 * density,
            coherence=coherence,
            rng=1000 * seed + len(rows),
        )
        with_codes(adata, adata.obsm["concepts"], adata.uns["truth"]["dictionary"], "tokens")
        sae.tl.superposition_score(adata, n_perms=1, n_pairs=20_000)
        result = adata.uns["superposition_score"]
        recall = sae.metrics.knn_recall(adata.X, adata.obsm["concepts"], 10)
        # all cells without any concept are the same to their codes: who is nearest among them is noise
        held = adata.obsm["concepts"].sum(1) > 0
        of_held = sae.metrics.knn_recall(adata.X[held], adata.obsm["concepts"][held], 10)
        truth = (1 - recall, 1 - of_held, 1 - result["distortion"]["spearman_rep"])
        rows.append([*(measure(result) for measure in MEASURES.values()), *truth])
    return np.array(rows)


def simulate(kind, seed, n=200, m=32, d=10):
    rng = np.random.default_rng(seed)
    decoder, usage = rng.normal(size=(m, d)), rng.uniform(0.05, 0.4, m)
    strength, plate = rng.gamma(3.0, 1 / 3, (n, m)), np.repeat(np.arange(5), n // 5)
    active = rng.random((n, m)) < usage
    if kind == "top-k codes":
        active = strength * usage >= np.sort(strength * usage, 1)[:, [-6]]
    elif kind == "cells of unequal size":
        strength = strength * rng.lognormal(0, 0.7, (n, 1))
    elif kind == "cells of unequal L0":
        active = rng.random((n, m)) < np.minimum(usage * rng.lognormal(0, 0.7, (n, 1)), 0.9)
    elif kind.startswith("plates"):
        active = rng.random((n, m)) < np.where(rng.integers(0, 5, m) == np.arange(5)[:, None], 0.7, 0.03)[plate]
    elif kind in {"modules", "modules with similar rows"}:
        module = rng.permutation(m) % 6
        active = (rng.random((n, 6)) < 0.3)[:, module] & (rng.random((n, m)) < 0.6)
        if kind == "modules with similar rows":
            decoder = decoder + 0.5 * rng.normal(size=(6, d))[module]
    blocks = plate if kind == "plates, blocked" else np.zeros_like(plate)
    return (*scale_codes(sparse.csr_matrix(strength * active), decoder), blocks)


def calibration(n_sets=300, n_perms=99):
    kinds = ["independent", "top-k codes", "cells of unequal size", "cells of unequal L0", "plates", "plates, blocked"]
    lines = []
    for kind in [*kinds, "modules", "modules with similar rows"]:
        usage, assigned = np.empty(n_sets), np.empty(n_sets)
        for seed in range(n_sets):
            scaled, unit, blocks = simulate(kind, seed)
            rng = np.random.default_rng(10_000 + seed)
            jitter = rng.random(2) / (1 + n_perms)
            usage[seed] = usage_null(scaled, unit, blocks, crowding=1.0, n_perms=n_perms, rng=rng).pvalue - jitter[0]
            drawn = assignment_null(scaled, unit, crowding=1.0, n_perms=n_perms, rng=rng)
            assigned[seed] = drawn.pvalue - jitter[1]
        cells = [f"{np.mean(p <= 0.05):.3f} | {stats.kstest(p, 'uniform').pvalue:.2g}" for p in (usage, assigned)]
        lines.append(f"| {kind} | {cells[0]} | {cells[1]} |")
    return lines


def cost(n, m, k, d):
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, m, (n, k)), 1).ravel()
    values = rng.gamma(3, 1 / 3, n * k).astype(np.float32)
    codes = sparse.csr_matrix((values, columns, np.arange(0, n * k + 1, k)), shape=(n, m))
    codes.sum_duplicates()
    decoder = rng.normal(size=(m, d)).astype(np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    adata = with_codes(ad.AnnData(np.asarray(codes @ decoder)), codes, decoder, None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    sae.tl.superposition_score(adata)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    cells = adata.uns["superposition_score"]["params"]["n_null_cells"]
    return f"| {n:,} x {m:,} | {k} | {d} | {wall:.0f} | {cpu:.0f} | {memory:.0f} | {cells:,} |"


def contamination_lines():
    grids = {n: contamination(n) for n in (64, 8, 1)}
    out = [
        f"{len(grids[64])} simulated sets (d 32, 300 cells; m/d .5-8, density .01-.1, coherence 0-.6, two seeds),",
        "true codes and dictionary. Three numbers: with 1 - kNN recall (k 10) of the pooled representation against",
        "true concepts, with the same among cells that hold any concept, and with 1 - Spearman of distances. With one",
        "position per cell many cells hold nothing (up to two thirds in the sparsest sets). Their codes are equal, so",
        "that their neighbours are noise, which no measure of a dictionary can know.",
        "",
        "| measure | 64 positions per cell | 8 positions | 1 position |",
        "|---|---|---|---|",
    ]
    for column, name in enumerate(MEASURES):
        cells = []
        for rows in grids.values():
            found = [stats.spearmanr(rows[:, column], rows[:, truth]).statistic for truth in (-3, -2, -1)]
            cells.append(" / ".join(f"{value:.2f}" for value in found))
        out.append(f"| {name} | {' | '.join(cells)} |")
    return out


def trained_lines():
    out = [
        "24 settings (d 32; m/d .5-4, coherence 0 and .5, two densities), as many features as concepts (at least 16),",
        "`k` the true mean L0. Cells: 4,000 of one position, L0 2 and 8, top-k encoder. Tokens: 500 cells of 16",
        "positions, L0 1 and 4, matching pursuit. Numbers as above, of up to 1,500 cells.",
        "",
        "| measure | cells | tokens |",
        "|---|---|---|",
    ]
    both = [contamination_trained(tokens=tokens) for tokens in (False, True)]
    for name in both[0]:
        cells = [" / ".join(f"{value:.2f}" for value in found[name]) for found in both]
        out.append(f"| {name} | {' | '.join(cells)} |")
    return out


def calibration_trained_lines():
    return [
        "10 simulated sets each (d 16, L0 2 per position, 19 draws; 1,500 cells of one position or 200 of 12), the",
        "autoencoder trained on them. Independent features should give a share of .05 and z of 0 ± 1. Aligned: four",
        "concepts each fire together in cells and have similar directions. `pvalue` is the larger of the two.",
        "",
        "| positions | codes | m/d | features | usage: p <= .05 | reencoded | larger | z usage | z reencoded | MMCS |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *calibration_trained(),
    ]


def calibration_lines():
    return [
        "300 simulated sets each (200 cells, 32 features, 10 dimensions, random dictionary except in the last row),",
        "99 permutations: share of p <= .05, and p of a Kolmogorov-Smirnov test against uniform.",
        "",
        "| co-activation | usage: share | KS | assignment: share | KS |",
        "|---|---|---|---|---|",
        *calibration(),
    ]


def cost_lines():
    # memory peaks only rise: the data set that needs most comes last
    sizes = [(20_000, 1_024, 200, 256), (20_000, 16_384, 32, 512), (100_000, 4_096, 16, 512), (10**6, 8_192, 16, 128)]
    return [
        "Defaults (100,000 pairs, 100 permutations). MiB: rise of the peak above that of making the data.",
        "",
        "| codes | L0 | d | wall s | CPU s | MiB | cells of the permutations |",
        "|---|---|---|---|---|---|---|",
        *(cost(*size) for size in sizes),
    ]


PARTS = {
    "Rank correlation with true contamination": contamination_lines,
    "The same with trained autoencoders": trained_lines,
    "Where there is nothing to find": gain_lines,
    "Calibration of the p-values of given codes": calibration_lines,
    "Calibration with trained autoencoders": calibration_trained_lines,
    "Cost": cost_lines,
}


def main():
    warnings.simplefilter("ignore")
    packages = ", ".join(f"{name} {version(name)}" for name in ("saescape", "numpy", "scipy"))
    out = ["# Superposition score", ""]
    out += [f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()}), {packages}."]
    for title, part in PARTS.items():
        out += ["", f"## {title}", "", *part()]
    text = "\n".join(out) + "\n"
    print(text)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)


if __name__ == "__main__":
    main()
