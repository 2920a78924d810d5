"""What a sparse autoencoder finds where there is nothing to find: refits to Gaussian data of the same covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._random import child_seed
from saescape._rows import RowSource
from saescape.sae._bench import Bench
from saescape.sae._data import hold_out_observations
from saescape.sae._defaults import make_plan
from saescape.sae._stability import random_rows, spread_factor

from ._interference import interference, scale_codes

if TYPE_CHECKING:
    import torch

    from saescape._typing import FloatArray
    from saescape.sae._defaults import Plan

# a refit answers a yes-or-no question: it may be smaller and shorter than the fit it is compared with
MOST_ROWS = 20_000
_MOST_FEATURES = 1_024
_ROWS_PER_FEATURE = 4
# multiplications of all steps of one refit, and the steps it takes at least
_BUDGET = 8e10
_FEWEST_STEPS = 300


@dataclass(frozen=True)
class GaussianNull:
    """Held-out error and score of refits to the rows and to Gaussian rows, one entry per refit."""

    fvu: FloatArray
    fvu_gaussian: FloatArray
    score: FloatArray
    score_gaussian: FloatArray
    plan: Plan
    n_cells: int

    @property
    def sparse_gain(self) -> float:
        """Share of the error on Gaussian rows that the actual ones do not have; 0 where nothing is sparse."""
        gaussian = float(self.fvu_gaussian.mean())
        return 1.0 - float(self.fvu.mean()) / gaussian if gaussian > 0 else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for storage."""
        return {
            "mean": float(self.score_gaussian.mean()),
            "sd": float(self.score_gaussian.std(ddof=1)) if len(self.score_gaussian) > 1 else float("nan"),
            "values": self.score_gaussian,
            "values_refitted": self.score,
            "fvu": self.fvu_gaussian,
            "fvu_refitted": self.fvu,
            "sparse_gain": self.sparse_gain,
            "n_refits": len(self.fvu),
            "n_cells": self.n_cells,
            "n_features": self.plan.n_features,
            "k": self.plan.k,
            "n_steps": self.plan.n_steps,
        }


def gaussian_rows(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Gaussian data with the mean and covariance of the rows of `x` `(n, d)`.

    Of tokens `(n, p, d)`, both the covariance of cells (means over positions) and that of positions within cells.
    """
    cells = x.mean(1, dtype=np.float64) if x.ndim == 3 else x.astype(np.float64)
    mean = cells.mean(0)
    if x.ndim == 2:
        drawn = mean + random_rows(len(x), spread_factor(cells - mean), rng)
        return drawn.astype(np.float32)
    within = (x - cells[:, None]).reshape(-1, x.shape[2])
    noise = random_rows(len(within), spread_factor(within), rng).reshape(x.shape)
    # the means over positions are exactly those drawn for the cells
    noise -= noise.mean(1, keepdims=True)
    # positions within a cell lose a degree of freedom to its mean, which is given back
    positions = x.shape[1]
    noise *= np.sqrt(positions / (positions - 1)) if positions > 1 else 0.0
    centres = mean + random_rows(len(cells), spread_factor(cells - mean), rng)
    return (centres[:, None] + noise).astype(np.float32)


def refit_plan(
    n_rows: int, n_train: int, n_dims: int, *, architecture: str, n_features: int, k: int, standardize: str
) -> Plan:
    """Settings of a refit: those of the fit, within bounds of size and time."""
    width = min(n_features, _MOST_FEATURES, max(16, n_train // _ROWS_PER_FEATURE))
    plan = make_plan(
        n_rows,
        n_dims,
        n_train=n_train,
        architecture=architecture,
        n_features=width,
        k=min(k, width),
        standardize=standardize,
        early_stopping=False,
    )
    affordable = int(_BUDGET / (plan.batch_size * width * n_dims))
    return replace(plan, n_steps=min(plan.n_steps, max(_FEWEST_STEPS, affordable)))


def gaussian_null(
    x: FloatArray,
    *,
    architecture: str,
    n_features: int,
    k: int,
    standardize: str,
    n_refits: int,
    rng: np.random.Generator,
    device: torch.device,
) -> GaussianNull:
    """Fit the rows and Gaussian rows alike, and compare held-out errors and scores.

    Parameters
    ----------
    x
        Cells `(n, d)` or their positions `(n, p, d)`.
    architecture, n_features, k, standardize
        Of the fit in question.
    n_refits
        Pairs of refits, each with other Gaussian rows and other first weights.
    """
    n_positions, n_dims = x.shape[1] if x.ndim == 3 else 1, x.shape[-1]
    held_out = hold_out_observations(len(x), n_positions, n_dims, rng)
    n_train = int((~held_out).sum()) * n_positions
    plan = refit_plan(
        len(x) * n_positions,
        n_train,
        n_dims,
        architecture=architecture,
        n_features=n_features,
        k=k,
        standardize=standardize,
    )
    measured: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for _ in range(n_refits):
        seed = child_seed(rng)
        for gaussian, results in measured.items():
            rows = RowSource(gaussian_rows(x, rng) if gaussian else x, where="rows of the refit")
            bench = Bench(rows, held_out, rows.moments(), standardize, np.random.default_rng(seed), device)
            weights = bench.train(plan, seed)
            encoded = bench.encode(weights)
            scaled, unit = scale_codes(encoded.codes, weights.W_dec)
            results.append((encoded.fvu(np.array([False, True])), interference(scaled, unit).score))
    fvu, score = np.array(measured[False]).T
    fvu_gaussian, score_gaussian = np.array(measured[True]).T
    return GaussianNull(fvu, fvu_gaussian, score, score_gaussian, plan, len(x))
