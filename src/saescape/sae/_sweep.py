"""Fits over a grid of widths and sparsities: error, and agreement of seeds beside that of chance."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._random import child_seed
from saescape._rows import RowSource

from ._data import IN_MEMORY_BYTES
from ._defaults import HELD_OUT_ROWS
from ._encode import encode_rows
from ._fit import Training, finished_weights
from ._parameters import Standardizer
from ._stability import matched_cosines, random_rows, spread_factor

if TYPE_CHECKING:
    import torch
    from tqdm.auto import tqdm

    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._defaults import Plan

# what counts as found: above this quantile of the matches that chance gives
_CHANCE_QUANTILE = 0.95
_EVALUATION_BYTES = 2**28


@dataclass(frozen=True)
class _Fitted:
    #: directions of the features in use, in units of the standardised data
    directions: FloatArray
    fvu: float
    fvu_train: float
    l0: float
    n_dead: int
    seconds: float


class _Bench:
    """Rows that are trained on, and a fixed sample of rows on which every fit is measured."""

    def __init__(
        self,
        rows: RowSource,
        held_out: BoolArray,
        moments: tuple[FloatArray, FloatArray],
        standardize: str,
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        self.rows, self.held_out, self.device = rows, held_out, device
        self.standardizer = Standardizer(standardize, *moments)
        per_obs = rows.n_positions or 1
        limit = max(1, min(HELD_OUT_ROWS, _EVALUATION_BYTES // (4 * rows.n_dims)) // per_obs)
        parts = [_some(np.flatnonzero(mask), limit, rng) for mask in (~held_out, held_out)]
        self.measured = RowSource(rows.take(np.concatenate(parts)), where=rows.where)
        self.is_held_out = np.repeat([0, 1], [len(part) for part in parts])

    def fit(self, plan: Plan, seed: int) -> _Fitted:
        """Train, and encode the sample of rows only: with much data, encoding all of them is a good part of a fit."""
        start = time.perf_counter()
        rng = np.random.default_rng(seed)
        training = Training(
            rows=self.rows,
            held_out=self.held_out,
            plan=plan,
            standardizer=self.standardizer,
            sampling=rng,
            seed=child_seed(rng),
            device=self.device,
            max_bytes=IN_MEMORY_BYTES,
            checkpoint=None,
            show_progress_bar=False,
        )
        weights = finished_weights(training(), self.standardizer, self.rows, ~self.held_out)
        scale = self.standardizer.scale
        encoded = encode_rows(self.measured, weights, self.device, self.is_held_out, scale=scale)
        alive = encoded.n_active > 0
        return _Fitted(
            (weights.W_dec / scale)[alive],
            encoded.fvu(np.array([False, True])),
            encoded.fvu(np.array([True, False])),
            encoded.l0,
            int((~alive).sum()),
            time.perf_counter() - start,
        )

    def spread(self) -> FloatArray:
        """Factor of the second moments of the standardised data."""
        sample = self.measured.read_all().reshape(-1, self.rows.n_dims).astype(np.float64)
        return spread_factor((sample - self.standardizer.mean) / self.standardizer.scale)

    def without_features(self, factor: FloatArray, rng: np.random.Generator) -> _Bench:
        """As many rows with the same second moments, but Gaussian: whatever is found there is no feature."""
        share = min(1.0, IN_MEMORY_BYTES / self.rows.dense_bytes)
        n_held_out = int(self.held_out.sum()) * (self.rows.n_positions or 1)
        sizes = [max(2, int(share * n)) for n in (self.rows.n_rows - n_held_out, n_held_out)]
        noise = random_rows(sum(sizes), factor, rng) * self.standardizer.scale + self.standardizer.mean
        rows = RowSource(noise.astype(np.float32), where="the null data")
        held_out = np.repeat([False, True], sizes)
        return _Bench(rows, held_out, rows.moments(), self.standardizer.kind, rng, self.device)


def sweep(
    rows: RowSource,
    plans: list[Plan],
    held_out: BoolArray,
    moments: tuple[FloatArray, FloatArray],
    *,
    n_seeds: int,
    n_nulls: int,
    rng: np.random.Generator,
    device: torch.device,
    show_progress_bar: bool = False,
) -> pd.DataFrame:
    """Fit every plan with the same seeds on the same rows, and measure errors and agreement.

    Parameters
    ----------
    rows
        Observations, finite.
    plans
        Complete settings, one per combination.
    held_out
        Mask of the observations that are never trained on.
    moments
        Mean and variance of each dimension over all rows.
    n_seeds
        Fits per combination, at least two.
    n_nulls
        Fits per combination to Gaussian rows with the covariance of the data, none or at least two.

    Returns
    -------
    One row per plan; a row does not depend on which other plans there are.
    """
    from tqdm.auto import tqdm

    common = child_seed(rng)
    seeds = [child_seed(rng) for _ in range(max(n_seeds, n_nulls))]
    shared = np.random.default_rng(common)
    bench = _Bench(rows, held_out, moments, plans[0].standardize, shared, device)
    factor = bench.spread()
    null_bench = bench.without_features(factor, shared) if n_nulls else None
    table = []
    with tqdm(
        total=len(plans) * (n_seeds + n_nulls), desc="sweep", unit="fit", disable=not show_progress_bar
    ) as progress:
        for plan in plans:
            progress.set_postfix_str(f"{plan.n_features} features, k={plan.k}")
            fits = _fit_all(bench, plan, seeds[:n_seeds], progress)
            nulls = [] if null_bench is None else _fit_all(null_bench, plan, seeds[:n_nulls], progress)
            chance = np.random.default_rng([common, plan.n_features, plan.k])
            row = {"n_features": plan.n_features, "k": plan.k, "architecture": plan.architecture}
            table.append(row | _errors(fits) | _agreement(fits, nulls, factor, chance) | _seconds(fits))
    return pd.DataFrame(table, index=[str(i) for i in range(len(table))])


def _fit_all(bench: _Bench, plan: Plan, seeds: list[int], progress: tqdm[Any]) -> list[_Fitted]:
    fits = []
    for seed in seeds:
        fits.append(bench.fit(plan, seed))
        progress.update()
    return fits


def _seconds(fits: list[_Fitted]) -> dict[str, float]:
    return {"seconds": float(np.mean([fit.seconds for fit in fits]))}


def _errors(fits: list[_Fitted]) -> dict[str, float]:
    fvu = np.array([fit.fvu for fit in fits])
    return {
        "fvu": float(fvu.mean()),
        "fvu_sd": float(fvu.std(ddof=1)),
        "fvu_train": float(np.mean([fit.fvu_train for fit in fits])),
        "l0": float(np.mean([fit.l0 for fit in fits])),
        "n_dead": float(np.mean([fit.n_dead for fit in fits])),
    }


def _agreement(
    fits: list[_Fitted], nulls: list[_Fitted], factor: FloatArray, rng: np.random.Generator
) -> dict[str, float]:
    pairs = list(combinations([fit.directions for fit in fits], 2))
    found = [matched_cosines(*pair) for pair in pairs]
    random = [matched_cosines(*(random_rows(len(side), factor, rng) for side in pair)) for pair in pairs]
    fitted = [matched_cosines(first.directions, second.directions) for first, second in combinations(nulls, 2)]
    threshold = max(np.quantile(np.concatenate(matches), _CHANCE_QUANTILE) for matches in (random, fitted) if matches)
    return {
        "stability": float(np.mean([match.mean() for match in found])),
        "stability_random": float(np.mean([match.mean() for match in random])),
        "stability_null": float(np.mean([match.mean() for match in fitted])) if fitted else float("nan"),
        "stability_share": float(np.mean(np.concatenate(found) > threshold)),
    }


def _some(numbers: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """Up to `n` of the numbers, in increasing order."""
    return numbers if len(numbers) <= n else np.sort(rng.choice(numbers, n, replace=False))
