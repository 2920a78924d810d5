"""Fits over a grid of widths and sparsities: error, and agreement of seeds beside that of chance."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._random import child_seed

from ._bench import Bench
from ._stability import matched_cosines, random_rows

if TYPE_CHECKING:
    import torch
    from tqdm.auto import tqdm

    from saescape._rows import RowSource
    from saescape._typing import BoolArray, FloatArray

    from ._bench import Fitted
    from ._defaults import Plan

# what counts as found: above this quantile of the matches that chance gives
_CHANCE_QUANTILE = 0.95


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
    bench = Bench(rows, held_out, moments, plans[0].standardize, shared, device)
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


def _fit_all(bench: Bench, plan: Plan, seeds: list[int], progress: tqdm[Any]) -> list[Fitted]:
    fits = []
    for seed in seeds:
        fits.append(bench.fit(plan, seed))
        progress.update()
    return fits


def _seconds(fits: list[Fitted]) -> dict[str, float]:
    return {"seconds": float(np.mean([fit.seconds for fit in fits]))}


def _errors(fits: list[Fitted]) -> dict[str, float]:
    fvu = np.array([fit.fvu for fit in fits])
    return {
        "fvu": float(fvu.mean()),
        "fvu_sd": float(fvu.std(ddof=1)),
        "fvu_train": float(np.mean([fit.fvu_train for fit in fits])),
        "l0": float(np.mean([fit.l0 for fit in fits])),
        "n_dead": float(np.mean([fit.n_dead for fit in fits])),
    }


def _agreement(
    fits: list[Fitted], nulls: list[Fitted], factor: FloatArray, rng: np.random.Generator
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
