"""Tokens decoded with given directions and a given rule, to tell what directions and what inference cost."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

import saescape as sae
from saescape._rep import get_representation
from saescape._store import from_uns
from saescape.sae._infer_rows import tune_rule

if TYPE_CHECKING:
    from scipy import sparse

#: positions at which a feature must be active to be refitted, and weight of the ridge that keeps this solvable
_FEWEST, _RIDGE = 5, 1e-6


def decoded(fit: ad.AnnData, directions: np.ndarray | None, rule: str) -> sparse.csr_matrix:
    """Codes of the cells of a fit, with its own features (`directions` None) or others.

    `rule` is `"default"` (the penalty and features of the shortest description), `"encoder"`, or `"omp"` and `"fista"`
    with the penalty at which as many features are active as concepts are in truth.
    """
    cells = ad.AnnData(obs=fit.obs[[]], obsm={"tokens": fit.obsm["tokens"]})
    model = fit if directions is None else with_directions(fit, directions, tune=rule == "default")
    inference = None if rule == "default" else rule
    l0 = fit.uns["truth"]["l0"] if rule in {"omp", "fista"} else None
    sae.tl.sae_transform(cells, model, inference=inference, l0_target=l0, show_progress_bar=False)
    return cells.obsm["X_sae"]


def matched(fit: ad.AnnData) -> np.ndarray:
    """Of the learned directions, those that belong one to one to true concepts."""
    learned, true = fit.uns["sae"]["weights"]["W_dec"], fit.uns["truth"]["dictionary"]
    return learned[linear_sum_assignment(-(true @ learned.T))[1]]


def with_directions(fit: ad.AnnData, directions: np.ndarray, *, tune: bool) -> ad.AnnData:
    """A model with these directions, no offset (there is none in the simulation), and the default rule for them."""
    model = ad.AnnData(obs=fit.obs[[]], uns={"sae": deepcopy(fit.uns["sae"])})
    entry = model.uns["sae"]
    m, d = directions.shape
    entry["weights"] = {
        "W_enc": np.ascontiguousarray(directions.T, dtype=np.float32),
        "W_dec": np.asarray(directions, dtype=np.float32),
        "b_enc": np.zeros(m, dtype=np.float32),
        "b_dec": np.zeros(d, dtype=np.float32),
    }
    entry["params"] |= {"n_features": m, "used": None}
    if not tune:
        return model
    tuned = tune_rule(
        get_representation(fit, "tokens", None).rows,
        from_uns(model).weights,
        torch.device("cpu"),
        "omp",
        l0_target=float(entry["params"]["k"]),
        by_length=True,
    )
    entry["params"] |= tuned.rule.params()
    return model


def refitted(fit: ad.AnnData, n_rounds: int = 2) -> np.ndarray:
    """Learned directions after rounds of sparse codes by the rule of the fit and least squares for the directions.

    This is the method of optimal directions (Engan, Aase and Husoy 1999), started from a fit.
    """
    tokens = fit.obsm["tokens"].reshape(-1, fit.obsm["tokens"].shape[2]).astype(float)
    model = ad.AnnData(obs=fit.obs[[]], uns={"sae": deepcopy(fit.uns["sae"])})
    weights = model.uns["sae"]["weights"]
    for _ in range(n_rounds):
        positions = ad.AnnData(obsm={"tokens": tokens.astype(np.float32)})
        sae.tl.sae_transform(positions, model, use_rep="tokens", show_progress_bar=False)
        codes = positions.obsm["X_sae"].toarray().astype(float)
        active = (codes > 0).sum(0) >= _FEWEST
        inputs = np.hstack([codes[:, active], np.ones((len(codes), 1))])
        ridge = _RIDGE * len(codes) * np.eye(inputs.shape[1])
        solution = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ tokens)
        directions = weights["W_dec"].copy()
        directions[active] = solution[:-1] / np.linalg.norm(solution[:-1], axis=1, keepdims=True)
        weights["W_dec"], weights["b_dec"] = directions, solution[-1].astype(np.float32)
    used = fit.uns["sae"]["params"].get("used")
    return weights["W_dec"] if used is None else weights["W_dec"][np.asarray(used)]
