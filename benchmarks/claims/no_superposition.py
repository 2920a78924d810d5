from __future__ import annotations

from .report import Check, Claim, spread
from .simulated import cells, distance_correlation, fitted, recall, score, with_truth


def run(seeds: list[int]) -> Claim:
    """T1: orthonormal concepts, as many as dimensions or half as many."""
    claim = Claim("T1", "Without superposition nothing is contaminated")
    rows = []
    for n_concepts in (16, 32):
        found = {"recall": [], "rho": [], "score": [], "score of the fit": []}
        for seed in seeds:
            adata = cells(n_concepts, seed)
            found["recall"].append(recall(adata, adata.X))
            found["rho"].append(distance_correlation(adata, adata.X))
            found["score"].append(score(with_truth(adata)))
            found["score of the fit"].append(score(fitted(n_concepts, seed)))
        ratio = f"m/d {n_concepts / 32:g}"
        claim.checks += [
            Check(f"kNN recall of the pooled representation, {ratio}", found["recall"], 0.9),
            Check(f"Spearman of distances, {ratio}", found["rho"], 0.98),
            Check(f"superposition score, true concepts and directions, {ratio}", found["score"], 0.05, above=False),
            Check(f"superposition score of the default fit, {ratio}", found["score of the fit"], 0.05, above=False),
        ]
    for n_concepts in (64, 128):
        true = [score(with_truth(cells(n_concepts, seed))) for seed in seeds]
        fit = [score(fitted(n_concepts, seed)) for seed in seeds]
        rows.append([f"{n_concepts / 32:g}", spread(true), spread(fit)])
    claim.say('"Near 0" is taken as at most .05. For comparison, the score with superposition:')
    claim.table(["m/d", "true concepts and directions", "default fit"], rows)
    return claim
