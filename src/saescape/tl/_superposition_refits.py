"""Refit a stored sparse autoencoder to its rows and to Gaussian ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape._device import resolve_device
from saescape._store import from_uns

from ._superposition_recoding import NO_ROWS, NOT_A_MODEL, coded_rows

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape.superposition._gaussian import GaussianNull

NOT_WANTED = "n_refits=0"
FEW_ROWS = "too few rows"


def refit_gaussian(
    adata: AnnData, key: str | None, *, n_refits: int, rng: np.random.Generator, device: str | None
) -> tuple[GaussianNull | None, str]:
    """Held-out error and score where there is nothing sparse to find, or why they are not known.

    Parameters
    ----------
    adata
        With the entry of a fit under `key`, at least its decoder.
    n_refits
        Pairs of refits.
    """
    if n_refits == 0:
        return None, NOT_WANTED
    if "W_enc" not in adata.uns[key or "sae"]["weights"]:
        return None, NOT_A_MODEL
    stored = from_uns(adata, key)
    rows = coded_rows(adata, stored)
    if rows is None:
        return None, NO_ROWS
    from saescape.sae._defaults import MIN_ROWS, PENALISED
    from saescape.superposition._gaussian import MOST_ROWS, gaussian_null

    n_cells = min(rows.n_obs, max(MIN_ROWS, MOST_ROWS // (rows.n_positions or 1)))
    if n_cells * (rows.n_positions or 1) < 2 * MIN_ROWS:
        return None, FEW_ROWS
    cells = np.sort(rng.choice(rows.n_obs, n_cells, replace=False))
    architecture, k = stored.weights.architecture, stored.weights.k
    if architecture in PENALISED or not k:
        k = max(1, round(stored.metrics.get("l0_encoder", stored.metrics.get("l0", 1.0))))
    found = gaussian_null(
        rows.take(cells),
        architecture=architecture,
        n_features=stored.weights.n_features,
        k=k,
        standardize=stored.params.get("standardize", "center"),
        n_refits=n_refits,
        rng=rng,
        device=resolve_device(device),
    )
    return found, ""
