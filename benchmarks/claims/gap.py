"""What is left between a default fit and decoding with the true directions, and what would close it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import saescape as sae

from .decoders import decoded, matched, refitted
from .report import spread
from .simulated import N_DIMS, cells, fitted, recall

if TYPE_CHECKING:
    from .report import Claim

#: directions, rule; how they are made
_KINDS = {
    ("true", "default rule"): (lambda fit: fit.uns["truth"]["dictionary"], "default"),
    ("learned, one per true concept", "default rule"): (matched, "default"),
    ("learned", "default rule"): (None, "default"),
    ("learned, then refitted", "default rule"): (refitted, "default"),
    ("learned", "FISTA at the true L0"): (None, "fista"),
    ("learned", "encoder"): (None, "encoder"),
}
_CHANGES = {
    "twice as wide": {"n_features": 512},
    "k 8 in training": {"k": 8, "inference": "omp"},
}
_CHANGE_SEEDS = 2


def report_gap(claim: Claim, seeds: list[int]) -> None:
    """kNN recall with each set of directions and each rule; then other trainings at m/d 8, where most is left."""
    claim.say("### Gap to the true directions\n", "kNN recall of true neighbours:")
    rows = []
    for (directions, rule), (pick, how) in _KINDS.items():
        cells_of = ([fitted(N_DIMS * ratio, seed) for seed in seeds] for ratio in (2, 4, 8))
        found = [[recall(f, decoded(f, pick and pick(f), how)) for f in fits] for fits in cells_of]
        rows.append([directions, rule, *(spread(values) for values in found)])
    claim.table(["directions", "rule", "m/d 2", "m/d 4", "m/d 8"], rows)
    claim.say(
        "The default rule gives the shortest description of tokens and is found anew for each set of directions. "
        "*Refitted*: twice, codes by the rule of the fit and then least squares for the directions."
    )


def report_changes(claim: Claim, seeds: list[int]) -> None:
    """Fits with other settings at m/d 8, on the same cells."""
    seeds, rows = seeds[:_CHANGE_SEEDS], []
    default = np.array([recall(f, f.obsm["X_sae"]) for f in (fitted(8 * N_DIMS, seed) for seed in seeds)])
    for name, settings in _CHANGES.items():
        found, mmcs = [], []
        for seed in seeds:
            adata = cells(8 * N_DIMS, seed)
            sae.tl.sae_fit(adata, use_rep="tokens", rng=seed, show_progress_bar=False, **settings)
            found.append(recall(adata, adata.obsm["X_sae"]))
            mmcs.append(sae.metrics.mmcs(adata.uns["sae"]["weights"]["W_dec"], adata.uns["truth"]["dictionary"]))
        rows.append([name, spread(found), spread(np.array(found) - default), spread(mmcs, 3)])
    claim.say(f"Other settings of the fit at m/d 8 ({len(seeds)} seeds, paired):")
    claim.table(["change", "kNN recall", "over the default", "MMCS"], rows)
