from __future__ import annotations

import numpy as np

from saescape import metrics

from .gap import report_changes, report_gap
from .report import Check, Claim, spread
from .simulated import N_DIMS, distance_correlation, fitted, recall

#: m/d: MMCS, gain in recall over the pooled representation, recall
_BARS = {2: (0.95, 0.25, 0.85), 4: (0.9, 0.15, 0.65)}


def run(seeds: list[int]) -> Claim:
    """T3: `sae_fit` with default settings against the truth."""
    claim = Claim("T3", "A default fit recovers concepts and distances")
    rows = []
    for ratio in (1, 2, 4, 8):
        fits = [fitted(N_DIMS * ratio, seed) for seed in seeds]
        found = [f.uns["sae"]["weights"]["W_dec"] for f in fits]
        true = [f.uns["truth"]["dictionary"] for f in fits]
        mmcs = [metrics.mmcs(*pair) for pair in zip(found, true, strict=True)]
        drawn = [np.random.default_rng(10_000 + seed).standard_normal(found[0].shape) for seed in seeds]
        chance = [metrics.mmcs(*pair) for pair in zip(drawn, true, strict=True)]
        pooled = np.array([recall(f, f.X) for f in fits])
        decoded = np.array([recall(f, f.obsm["X_sae"]) for f in fits])
        rho = [distance_correlation(f, f.obsm["X_sae"]) for f in fits]
        l0 = [[f.uns["truth"]["l0"] for f in fits], [f.uns["sae"]["metrics"]["l0"] for f in fits]]
        l0 = [f"{np.mean(each):.1f}" for each in l0]
        rows.append([ratio, spread(mmcs, 3), spread(chance), *l0, spread(pooled), spread(decoded), spread(rho, 3)])
        if ratio in _BARS:
            bars = _BARS[ratio]
            claim.checks += [
                Check(f"MMCS, m/d {ratio}", mmcs, bars[0]),
                Check(f"kNN recall over pooled, m/d {ratio}", decoded - pooled, bars[1]),
                Check(f"kNN recall, m/d {ratio}", decoded, bars[2]),
            ]
    claim.table(
        ["m/d", "MMCS", "MMCS of a random dictionary", "true L0", "L0", "recall pooled", "recall", "Spearman"], rows
    )
    claim.say("m/d 8 has no bar.")
    report_gap(claim, seeds)
    report_changes(claim, seeds)
    return claim
