from __future__ import annotations

import numpy as np

from .report import Check, Claim, spread
from .simulated import cells, distance_correlation, recall

_RATIOS, _DENSITIES = (1, 2, 4), (0.01, 0.03, 0.1)
_MEASURES = {"kNN recall": recall, "Spearman of distances": distance_correlation}


def run(seeds: list[int]) -> Claim:
    """T2: both measures of the pooled representation over m/d and density, paired by seed."""
    claim = Claim("T2", "Contamination grows with the number of concepts and with their density")
    shape = (len(_RATIOS), len(_DENSITIES), len(seeds))
    found = {name: np.empty(shape) for name in _MEASURES}
    for i, ratio in enumerate(_RATIOS):
        for j, density in enumerate(_DENSITIES):
            for s, seed in enumerate(seeds):
                adata = cells(32 * ratio, seed, density=density)
                for name, measure in _MEASURES.items():
                    found[name][i, j, s] = measure(adata, adata.X)
    for name, values in found.items():
        mean = values.mean(1)
        for i in (0, 1):
            step = f"m/d {_RATIOS[i]} to {_RATIOS[i + 1]}"
            claim.checks.append(Check(f"{name} lost, {step} (mean over densities)", mean[i] - mean[i + 1], 0.0))
        for i in (1, 2):
            for j in (0, 1):
                step = f"density {_DENSITIES[j]:g} to {_DENSITIES[j + 1]:g}, m/d {_RATIOS[i]}"
                claim.checks.append(Check(f"{name} lost, {step}", values[i, j] - values[i, j + 1], 0.0))
    claim.say(
        "Density changes little here: the rates of cells differ by the same factors at every density, and with 64 "
        "positions most of a cell's concepts are present whatever the density is. With 4 positions (m/d 2):"
    )
    rows = []
    for density in _DENSITIES:
        few = [cells(64, seed, density=density, n_positions=4) for seed in seeds]
        rows.append([f"{density:g}", *(spread([measure(a, a.X) for a in few]) for measure in _MEASURES.values())])
    claim.table(["density", *_MEASURES], rows)
    for name, values in found.items():
        claim.say(f"{name}:")
        rows = [[f"{ratio}", *(spread(cell) for cell in values[i])] for i, ratio in enumerate(_RATIOS)]
        claim.table(["m/d", *(f"density {density:g}" for density in _DENSITIES)], rows)
    return claim
