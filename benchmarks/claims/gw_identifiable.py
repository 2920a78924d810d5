from __future__ import annotations

import numpy as np

from saescape import metrics

from .gw_pairs import MANY, accuracy, foscttm, mapped, module_auroc, pair, true_neighbors
from .report import Check, Claim, spread

_CELLS = 500
_SETTINGS = {
    "3 types, 24 programs": {"n_types": 3, "n_dims": 24},
    "5 types, 24 programs (default: 16 dimensions)": {},
    "5 types, 24 programs": {"n_dims": 24},
    "8 types, 48 programs": {"n_types": 8, "n_programs": 48, "n_dims": 48, "n_genes": 1200},
    "12 types, 48 programs": {"n_types": 12, "n_programs": 48, "n_dims": 48, "n_genes": 1200},
    "5 types, 96 programs": {"n_programs": 96, "n_dims": 96, "n_genes": 1000},
    "5 types, 192 programs": MANY,
}
_MAIN = "5 types, 192 programs"


def run(seeds: list[int]) -> Claim:
    """T11: related sides without a symmetry, for settings from few to many programs."""
    claim = Claim("T11", "GW, identifiable case: related sides are matched cell by cell")
    rows = []
    for name, options in _SETTINGS.items():
        found = np.array([_measure(seed, options) for seed in seeds])
        right = found[:, 0] < 0.1
        flagged = found[:, 5] > 0
        if name == _MAIN:
            claim.checks += [
                Check(f"FOSCTTM, {name}", found[:, 0], 0.1, above=False),
                Check(f"balanced accuracy, {name}", found[:, 1], 0.9),
                Check(f"module AUROC, {name}", found[:, 2], 0.9),
            ]
        shown = [spread(column) for column in found[:, :5].T]
        rows.append([name, *shown, f"{right.sum()} of {len(seeds)}", f"{(~right & flagged).sum()} of {(~right).sum()}"])
    claim.say(
        "All settings, as many dimensions as programs unless said. *Nearest*: the labels and modules of the 10 nearest "
        "reference cells by the true programs, about what the best map could reach: cells near a branching have the "
        "programs of both types, and the programs of one branch rise together. *Right*: FOSCTTM below .1. *Flagged*: "
        "share of the others that are `ambiguous`."
    )
    header = ["FOSCTTM", "balanced accuracy", "module AUROC", "nearest: accuracy", "nearest: AUROC"]
    claim.table(["setting", *header, "right", "flagged"], rows)
    return claim


def _measure(seed: int, options: dict) -> list[float]:
    adata, adata_ref = pair(_CELLS, seed, **options)
    mapped(adata, adata_ref)
    best = true_neighbors(adata, adata_ref)
    types = adata_ref.obs["cell_type"].cat
    votes = best @ (types.codes.to_numpy()[:, None] == np.arange(len(types.categories)))
    nearest = metrics.label_transfer_accuracy(adata.obs["cell_type"].astype(str), types.categories[votes.argmax(1)])
    return [
        foscttm(adata, adata_ref),
        accuracy(adata),
        module_auroc(adata, adata_ref),
        nearest,
        module_auroc(adata, adata_ref, best),
        float(adata.uns["gw_map"]["ambiguous"]),
    ]
