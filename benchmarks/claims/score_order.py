from __future__ import annotations

from itertools import product

import numpy as np
from scipy.stats import spearmanr

from .report import Check, Claim
from .simulated import cells, distance_correlation, fitted, recall, score, with_truth

_RATIOS = (0.5, 1, 2, 4, 8)


def run(seeds: list[int]) -> Claim:
    """T5: rank correlation of the score with the contamination of the pooled representation, seed by seed."""
    claim = Claim("T5", "The superposition score orders representations by contamination, without the truth")
    lost = {"1 - kNN recall": recall, "1 - Spearman of distances": distance_correlation}
    true = {name: [] for name in lost}
    for seed in seeds:
        grid = [
            cells(int(32 * ratio), seed, density=density, coherence=coherence)
            for ratio, density, coherence in product(_RATIOS, (0.02, 0.08), (0.0, 0.5))
        ]
        scores = [score(with_truth(adata)) for adata in grid]
        for name, measure in lost.items():
            true[name].append(spearmanr(scores, [1 - measure(a, a.X) for a in grid]).statistic)
    for name, values in true.items():
        claim.checks.append(Check(f"true codes and directions, 20 representations, {name}", values, 0.8))
    fits = [fitted(int(32 * ratio), seed) for ratio in _RATIOS for seed in seeds]
    scores = [score(fit) for fit in fits]
    for name, measure in lost.items():
        contamination = np.array([1 - measure(fit, fit.X) for fit in fits])
        low, high = _bootstrap(np.array(scores), contamination)
        value = spearmanr(scores, contamination).statistic
        what = f"default fits, {len(fits)} representations, {name}"
        claim.checks.append(Check(what, value, 0.8, interval=(low, high)))
    claim.say(
        "Grid of m/d .5 to 8, density .02 and .08, coherence 0 and .5; the default fits over m/d .5 to 8 (bootstrap "
        "interval over representations); at m/d .5 and 1 nothing is contaminated, so that the order among these six is "
        "chance. The page on the superposition score has a larger grid, other measures and the "
        "calibration of its p-values."
    )
    return claim


def _bootstrap(x: np.ndarray, y: np.ndarray, n: int = 2_000) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    drawn = [spearmanr(x[rows], y[rows]).statistic for rows in rng.integers(0, len(x), (n, len(x)))]
    return tuple(np.quantile(drawn, [0.025, 0.975]))
