from __future__ import annotations

import anndata as ad
from scipy.stats import false_discovery_control

from .grouped import cell_pvalues, condition_pvalues, plate_r2
from .matching import matched_codes
from .report import Check, Claim, spread
from .simulated import DESIGN, N_DIMS, fitted

_FDR = 0.05
_RATIO = 4


def run(seeds: list[int]) -> Claim:
    """T9: matched features of concepts that differ between plates only, and of the others."""
    claim = Claim("T9", "Features of plate effects are flagged, and not returned as specific to a condition")
    roles = ("plate", "condition", "private")
    rows = {
        role: {name: [] for name in ("flagged", "flagged truth", "r2", "grouped", "truth", "cells")} for role in roles
    }
    for seed in seeds:
        fit = fitted(_RATIO * N_DIMS, seed, designed=True)
        role_of = fit.uns["truth"]["concepts"]["role"].to_numpy()
        codes = matched_codes(fit)
        concepts = fit.obsm["concepts"]
        r2, plate = plate_r2(codes, fit.obs)
        as_cells = ad.AnnData(codes, obs=fit.obs[["condition"]].copy())
        found = {
            "flagged": false_discovery_control(plate) < _FDR,
            "flagged truth": false_discovery_control(plate_r2(concepts, fit.obs)[1]) < _FDR,
            "r2": r2,
            "grouped": false_discovery_control(condition_pvalues(codes, fit.obs)) < _FDR,
            "truth": false_discovery_control(condition_pvalues(concepts, fit.obs)) < _FDR,
            "cells": false_discovery_control(cell_pvalues(as_cells, "condition")) < _FDR,
        }
        for role in roles:
            for name, values in found.items():
                rows[role][name].append(values[role_of == role].mean())
    claim.checks += [
        Check("plate concepts flagged by plate R2 (FDR .05)", rows["plate"]["flagged"], 0.8),
        Check("other concepts flagged by plate R2", rows["private"]["flagged"], 0.05, above=False),
        Check("plate concepts returned as condition-specific", rows["plate"]["grouped"], 0.05, above=False),
        Check("private concepts returned as condition-specific", rows["private"]["grouped"], 0.05, above=False),
    ]
    layout = ", ".join(f"{value} {name.removeprefix('n_')}" for name, value in DESIGN.items())
    claim.say(
        f"m/d {_RATIO}; {layout} (lines per condition, wells per plate). Wells are the replicates: plate R2 by "
        "analysis of variance of well means, conditions by a t test of their difference within plates; FDR .05. The "
        "bars were set for this page. Share of matched features returned, and mean plate R2:"
    )
    header = [
        "concepts",
        "plate R2",
        "flagged",
        "same, true concepts",
        "condition-specific",
        "same, true concepts",
        "same, cells as replicates",
    ]
    order = ("r2", "flagged", "flagged truth", "grouped", "truth", "cells")
    claim.table(header, [[role, *(spread(rows[role][name]) for name in order)] for role in roles])
    claim.say(
        "Where the true concepts themselves are not flagged, 24 wells are too few for the size of the effect: features "
        "are flagged as often as their concepts."
    )
    return claim
