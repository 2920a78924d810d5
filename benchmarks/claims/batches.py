from __future__ import annotations

import typing

import anndata as ad
import numpy as np

import saescape as sae
from saescape._typing import Architecture

from .report import Check, Claim
from .simulated import cells

_BOUND = 1e-6


def run(seeds: list[int]) -> Claim:
    """T6: codes of the same cells alone, in another order, among strangers and many times over."""
    claim = Claim("T6", "A cell's code does not depend on the cells it is encoded with")
    rows = []
    # sparse inference sees the dictionary only, whatever found it
    kinds = [*((each, "encoder") for each in typing.get_args(Architecture)), ("topk", "omp"), ("topk", "fista")]
    for architecture, inference in kinds:
        worst = [_largest_difference(architecture, inference, seed) for seed in seeds[:3]]
        rows.append([architecture, inference, *(f"{value:.1e}" for value in np.max(worst, 0))])
        what = f"largest difference, {architecture}, {inference}"
        claim.checks.append(Check(what, np.max(worst, 1), _BOUND, above=False))
    claim.say("Largest difference of a code from that of all cells together, relative to the largest code:")
    claim.table(["architecture", "inference", "one by one", "other order", "with strangers", "five times over"], rows)
    return claim


def _largest_difference(architecture: str, inference: str, seed: int) -> list[float]:
    adata = cells(64, seed, n_positions=16)[:50].copy()
    sae.tl.sae_fit(
        adata, 64, use_rep="tokens", architecture=architecture, k=4, max_epochs=20, rng=seed, show_progress_bar=False
    )
    model = adata.copy()
    tuned = {} if inference == "encoder" else {"l0_target": 3.0}
    sae.tl.sae_transform(model, adata, inference=inference, show_progress_bar=False, **tuned)
    together = model.obsm["X_sae"]
    largest = together.max()

    def differs(rows: np.ndarray, tokens: np.ndarray) -> float:
        codes = _encode(tokens, model)[: len(rows)]
        return float(abs(codes - together[rows]).max() / largest)

    tokens, rng = adata.obsm["tokens"], np.random.default_rng(seed)
    order, few = rng.permutation(adata.n_obs), np.arange(7)
    strangers = np.concatenate([tokens[few], 100 * rng.standard_normal((200, *tokens.shape[1:])).astype(np.float32)])
    return [
        max(differs(np.array([i]), tokens[[i]]) for i in range(3)),
        differs(order, tokens[order]),
        differs(few, strangers),
        differs(np.arange(adata.n_obs), np.tile(tokens, (5, 1, 1))),
    ]


def _encode(tokens: np.ndarray, model: ad.AnnData):
    new = ad.AnnData(obsm={"tokens": tokens})
    sae.tl.sae_transform(new, model, show_progress_bar=False)
    return new.obsm["X_sae"]
