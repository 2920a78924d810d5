from __future__ import annotations

import numpy as np

from .gw_pairs import MANY, mapped, pair
from .report import Check, Claim, spread

_CELLS = 300
_SETTINGS = {
    "5 types, 192 programs": MANY,
    "5 types, 24 programs (default)": {},
    "3 types, 24 programs": {"n_types": 3, "n_dims": 24},
}
_BINS = (0.0, 0.5, 0.7, 0.9, 1.0)


def run(seeds: list[int]) -> Claim:
    """T18: mean `gw_{column}_prob` against the share of right labels."""
    claim = Claim(
        "T18", "GW: label probabilities are about right where the map is, and say nothing about whether it is"
    )
    rows = []
    for name, options in _SETTINGS.items():
        maps = [_measure(seed, options) for seed in seeds]
        excess = [prob.mean() - right.mean() for prob, right, _ in maps]
        if options is MANY:
            claim.checks.append(Check(f"mean probability minus accuracy, {name}, at most", excess, 0.1, above=False))
            claim.checks.append(Check(f"mean probability minus accuracy, {name}, at least", excess, -0.1))
        failed = np.array([right.mean() < 0.6 for _, right, _ in maps])
        for kind, chosen in (("more than 60 % right", ~failed), ("others", failed)):
            if not chosen.any():
                continue
            kept = [m for m, take in zip(maps, chosen, strict=True) if take]
            prob, right = (np.concatenate([m[i] for m in kept]) for i in (0, 1))
            cells = [f"{np.mean([m[2] for m in kept]):.2f}", spread([m[0].mean() - m[1].mean() for m in kept])]
            for low, high in zip(_BINS[:-1], _BINS[1:], strict=True):
                inside = (prob > low) & (prob <= high)
                cells.append(f"{right[inside].mean():.2f} ({inside.sum()})" if inside.sum() > 20 else "-")
            rows.append([name, f"{kind} ({chosen.sum()} of {len(seeds)})", *cells])
    claim.say(
        "Share of right labels (number of cells) in bins of the probability; maps that are right and others apart:"
    )
    bins = [f"{low:g} to {high:g}" for low, high in zip(_BINS[:-1], _BINS[1:], strict=True)]
    claim.table(["setting", "maps", "share ambiguous", "mean probability minus accuracy", *bins], rows)
    return claim


def _measure(seed: int, options: dict) -> tuple[np.ndarray, np.ndarray, float]:
    adata, adata_ref = pair(_CELLS, seed, **options)
    mapped(adata, adata_ref)
    right = (adata.obs["cell_type"].astype(str) == adata.obs["gw_cell_type"].astype(str)).to_numpy(float)
    return adata.obs["gw_cell_type_prob"].to_numpy(), right, float(adata.uns["gw_map"]["ambiguous"])
