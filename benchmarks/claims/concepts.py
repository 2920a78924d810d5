from __future__ import annotations

import numpy as np

from .matching import correlations, matched_codes
from .report import Check, Claim, spread
from .simulated import N_DIMS, fitted

_RATIO = 4


def run(seeds: list[int]) -> Claim:
    """T8: activation of matched features against the true activation of their concepts, over cells."""
    claim = Claim("T8", f"Features stand for concepts: activation, and purity of condition concepts (m/d {_RATIO})")
    found = {name: [] for name in ("feature", "share", "dimension", "purity", "true purity", "difference")}
    for seed in seeds:
        fit = fitted(_RATIO * N_DIMS, seed, designed=True)
        codes, concepts = matched_codes(fit), fit.obsm["concepts"]
        own = np.diag(correlations(codes, concepts))
        found["feature"].append(own.mean())
        found["share"].append((own > 0.9).mean())
        found["dimension"].append(np.abs(correlations(fit.X, concepts)).max(0).mean())
        specific = (fit.uns["truth"]["concepts"]["role"] == "condition").to_numpy()
        condition = fit.obs["condition"].cat.codes.to_numpy() == 1
        purity = [_purity(each[:, specific], condition) for each in (codes, concepts)]
        found["purity"].append(purity[0].mean())
        found["true purity"].append(purity[1].mean())
        found["difference"].append(np.abs(purity[0] - purity[1]).mean())
    claim.checks += [
        Check("correlation of the matched feature with its concept, mean over concepts", found["feature"], 0.9),
        Check("purity of condition concepts, distance from the true one", found["difference"], 0.05, above=False),
    ]
    rows = [
        ["concepts with a correlation above .9", spread(found["share"])],
        ["correlation of the best of the pooled dimensions", spread(found["dimension"])],
        ["purity of matched features", spread(found["purity"])],
        ["purity of the concepts themselves", spread(found["true purity"])],
    ]
    claim.say(
        "Features are matched by direction, one to one. Purity: share of the activation that lies in the condition "
        "that has more of it (both conditions weighted alike); the bar on its distance was set for this page."
    )
    claim.table(["", "mean"], rows)
    return claim


def _purity(activation: np.ndarray, condition: np.ndarray) -> np.ndarray:
    mean = np.stack([activation[condition].mean(0), activation[~condition].mean(0)])
    return mean.max(0) / np.maximum(mean.sum(0), 1e-12)
