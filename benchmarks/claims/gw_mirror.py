from __future__ import annotations

import numpy as np

from .gw_pairs import accuracy, mapped, pair
from .report import Check, Claim, spread

_SETTINGS = {
    "4 types, 24 programs": {"n_types": 4},
    "6 types, 48 programs": {"n_types": 6, "n_programs": 48, "n_dims": 48, "n_genes": 1200},
}
_CELLS = 500
# an optimum is near when its loss is higher by no more than this: the tolerance of `ambiguous` with 400 cells and more
_NEAR = 0.05


def run(seeds: list[int]) -> Claim:
    """T13: types come in pairs whose exchange keeps all distances."""
    claim = Claim("T13", "GW, mirror trap: both optima are listed and the map is called ambiguous")
    rows = []
    for name, options in _SETTINGS.items():
        found = np.array([_measure(seed, options) for seed in seeds])
        claim.checks += [
            Check(f"near optima listed, {name}", found[:, 0], 2),
            Check(f"share called ambiguous, {name}", found[:, 1], 1),
        ]
        rows.append([name, *(spread(column, 3) for column in found[:, 2:].T)])
    claim.say(
        "Gap: loss of the optimum that disagrees most minus the best (the sampling of cells and counts breaks the "
        "symmetry by this much); its agreement with the best; the balanced accuracy of the map that was taken, and the "
        "share of cells that it gives the label of the mirrored type."
    )
    claim.table(["setting", "gap", "agreement", "balanced accuracy", "mirrored"], rows)
    return claim


def _measure(seed: int, options: dict) -> list[float]:
    adata, adata_ref = pair(_CELLS, seed, mirror=True, **options)
    mapped(adata, adata_ref)
    result = adata.uns["gw_map"]
    optima = result["optima"]
    best = optima["loss"].to_numpy()[optima["agreement"].to_numpy().argmax()]
    other = optima.iloc[optima["agreement"].to_numpy().argmin()]
    true, given = (adata.obs[c].astype(str).str[5:].astype(int) for c in ("cell_type", "gw_cell_type"))
    return [
        float((optima["loss"] <= best + _NEAR).sum()),
        float(result["ambiguous"]),
        other["loss"] - best,
        other["agreement"],
        accuracy(adata),
        float((given == (true ^ 1)).mean()),
    ]
