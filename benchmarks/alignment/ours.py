"""`tl.gw_map` on a pair, and the descent from the true coupling that tells its search from its objective."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .data import Pair


def gw_map(pair: Pair, **arguments: Any) -> tuple[NDArray, dict[str, Any]]:
    """Coupling, and what the method itself says about it."""
    import anndata as ad

    import saescape as sae

    adata, adata_ref = (ad.AnnData(x.astype(np.float32)) for x in (pair.x, pair.y))
    for side, labels in ((adata, pair.labels_x), (adata_ref, pair.labels_y)):
        side.obs["label"] = pd.Series(labels, side.obs_names).where(labels >= 0).astype("category")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sae.tl.gw_map(
            adata,
            adata_ref,
            obs="label",
            use_rep=None,
            use_rep_ref=None,
            device="cpu",
            show_progress_bar=False,
            **arguments,
        )
    result = adata.uns["gw_map"]
    order = np.sort(result["optima"]["loss"])
    verdict = {
        "own_loss": float(result["gw_loss"]),
        "gap": float(order[1] - order[0]) if len(order) > 1 else None,
        "pvalue": float(result["pvalue"]),
        "label_pvalue": float(result["label_accuracy"].loc["label", "pvalue"]),
        "ambiguous": bool(result["ambiguous"]),
        "warned": [w.category.__name__ for w in caught if issubclass(w.category, UserWarning)],
    }
    return adata.obsm["gw_coupling"].toarray().astype(float), verdict


def from_truth(pair: Pair, *, epsilon: float = 0.1) -> tuple[NDArray, dict[str, Any]]:
    """Descend from the true coupling under the objective of `gw_map`, on all cells."""
    import torch

    from saescape.transport._align import Settings, _embed_sides
    from saescape.transport._solver import solve

    # only the metrics are used here
    settings = Settings(("cosine", "geodesic"), None, epsilon, 8)
    problem, _, _ = _embed_sides(pair.x, pair.y, settings, np.random.default_rng(0))
    cross, loss_truth = problem.evaluate(torch.from_numpy(pair.truth()).float())
    found = solve(problem, cross[None], epsilon, max_iter=100)
    plan = found.plan[0].double().numpy()
    return plan, {"own_loss": float(found.loss[0]), "own_loss_truth": float(loss_truth)}


METHODS = {"gw_map": gw_map, "gw_map from the truth": from_truth}
