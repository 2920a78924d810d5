from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from .gw_pairs import accuracy, mapped, pair
from .report import Check, Claim, spread

_CELLS, _PRICE = 300, 1.0
_DATA = {"n_types": 6, "n_programs": 96, "n_dims": 96, "n_genes": 1000}
_MEASURES = ("confidence", "distortion", "mass")


def run(seeds: list[int]) -> Claim:
    """T14: a population that the reference lacks, and reversed frequencies, with fixed and with relaxed marginals."""
    claim = Claim("T14", "GW, imbalance and unmatched cells: relaxed marginals help, unmatched cells are recognised")
    accuracies, areas = [], []
    for name, make in _CASES.items():
        found = [_measure(make(seed)) for seed in seeds]
        fixed, relaxed = np.array([each["accuracy"] for each in found]).T
        claim.checks.append(
            Check(f"balanced accuracy of matched cells, relaxed minus fixed, {name}", relaxed - fixed, 0.0)
        )
        accuracies.append([name, spread(fixed), spread(relaxed)])
        if not found[0]["unmatched"]:
            continue
        for measure in ("confidence", "distortion"):
            values = [each["unmatched"]["fixed", measure] for each in found]
            claim.checks.append(Check(f"AUROC of unmatched cells by `gw_{measure}`, {name}", values, 0.5))
        for target in ("unmatched", "wrong"):
            for solver in ("fixed", "relaxed"):
                shown = [[each[target].get((solver, m), np.nan) for each in found] for m in _MEASURES]
                shown = ["-" if np.isnan(v).all() else spread(v) for v in shown]
                areas.append([name, solver, {"wrong": "wrong label, matched cells"}.get(target, target), *shown])
    claim.say(
        f"6 types, 96 programs, {_CELLS} cells. *One more type*: `unmatched=0.1`, a branch that starts off the tree. "
        "*A type removed*: the reference lacks one of types 2 to 4. *Imbalance*: `imbalance=0.8`. Relaxed: "
        f"`unbalanced=({_PRICE:g}, None)`, with imbalance `unbalanced={_PRICE:g}`."
    )
    claim.table(["case", "fixed", "relaxed"], accuracies)
    claim.say(
        "Area under the ROC curve of low `gw_confidence`, high `gw_distortion` and low `gw_mass` for cells without a "
        "counterpart, and among the others for a wrong label (.5 is no information):"
    )
    claim.table(["case", "marginals", "for", *_MEASURES], areas)
    return claim


def _measure(case) -> dict:
    adata, adata_ref, price = case
    matched = adata.obs["matched"].to_numpy()
    found = {"accuracy": [], "unmatched": {}, "wrong": {}}
    for solver, unbalanced in (("fixed", None), ("relaxed", price)):
        mapped(adata, adata_ref, unbalanced=unbalanced)
        found["accuracy"].append(accuracy(adata, matched))
        signs = {"confidence": -1, "distortion": 1} | ({"mass": -1} if solver == "relaxed" else {})
        wrong = adata.obs["cell_type"].astype(str).to_numpy() != adata.obs["gw_cell_type"].astype(str).to_numpy()
        for measure, sign in signs.items():
            value = sign * adata.obs[f"gw_{measure}"].to_numpy()
            if not matched.all():
                found["unmatched"][solver, measure] = roc_auc_score(~matched, value)
            if 0 < wrong[matched].sum() < matched.sum():
                found["wrong"][solver, measure] = roc_auc_score(wrong[matched], value[matched])
    return found


def _one_more_type(seed: int):
    return (*pair(_CELLS, seed, unmatched=0.1, **_DATA), (_PRICE, None))


def _type_removed(seed: int):
    adata, adata_ref = pair(_CELLS, seed, **_DATA)
    removed = f"type_{2 + seed % 3}"
    adata.obs["matched"] = (adata.obs["cell_type"] != removed).to_numpy()
    return adata, adata_ref[(adata_ref.obs["cell_type"] != removed).to_numpy()].copy(), (_PRICE, None)


def _imbalanced(seed: int):
    return (*pair(_CELLS, seed, imbalance=0.8, **_DATA), _PRICE)


_CASES = {"one more type": _one_more_type, "a type removed": _type_removed, "imbalance": _imbalanced}
