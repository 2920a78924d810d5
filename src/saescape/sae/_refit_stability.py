"""How well the features of a model are found again by other seeds, and in data without features."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from saescape._random import child_seed
from saescape.matching._assign import match_features
from saescape.matching._similarity import Activity, CosineSimilarity

from ._bench import Bench
from ._stability import random_rows

if TYPE_CHECKING:
    import torch
    from scipy import sparse

    from saescape._rows import RowSource
    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._defaults import Plan
    from ._weights import SaeWeights

# what counts as found: above this quantile of the best matches that chance gives
CHANCE_QUANTILE = 0.99


@dataclass(frozen=True)
class Directions:
    """Directions of the features in use, in units of the standardised data, and their codes on a sample."""

    alive: IntArray
    rows: FloatArray
    codes: sparse.csr_matrix


@dataclass(frozen=True)
class RefitStability:
    """Arrays have a row per feature in use, `alive` of them, and a column per refit.

    `cosine` is that of the most similar direction of the refit, `correlation` that of the codes of the two, and
    `mutual` whether each is the most similar of the other. `agreement` `(n_fits, n_fits)` is the mean cosine of
    directions paired one to one (the model first), `random` and `null` the same for pairs of random dictionaries and of
    fits to data without features.
    """

    alive: IntArray
    cosine: FloatArray
    correlation: FloatArray
    mutual: BoolArray
    agreement: FloatArray
    random: FloatArray
    null: FloatArray
    threshold: float


def refit_stability(
    rows: RowSource,
    weights: SaeWeights,
    plan: Plan,
    held_out: BoolArray,
    moments: tuple[FloatArray, FloatArray],
    *,
    n_seeds: int,
    n_nulls: int,
    rng: np.random.Generator,
    device: torch.device,
    show_progress_bar: bool = False,
) -> RefitStability:
    """Fit again with other seeds and compare.

    Parameters
    ----------
    rows
        What the model was fitted on, finite.
    weights
        The model.
    plan
        Its settings.
    held_out
        Mask of the observations that refits do not train on.
    moments
        Mean and variance of each dimension over all rows.
    n_nulls
        Fits to Gaussian rows with the same second moments, none or at least two.
    """
    from tqdm.auto import tqdm

    seeds = [child_seed(rng) for _ in range(max(n_seeds, n_nulls))]
    bench = Bench(rows, held_out, moments, plan.standardize, rng, device)
    factor = bench.spread()
    null_bench = bench.without_features(factor, rng) if n_nulls else None
    model, refits, nulls = _directions(bench, weights), [], []
    with tqdm(total=n_seeds + n_nulls, desc="refits", unit="fit", disable=not show_progress_bar) as progress:
        for seed in seeds[:n_seeds]:
            refits.append(_directions(bench, bench.train(plan, seed)))
            progress.update()
        if null_bench is not None:
            for seed in seeds[:n_nulls]:
                nulls.append(_directions(null_bench, null_bench.train(plan, seed)).rows)
                progress.update()

    random = [(random_rows(len(model.rows), factor, rng), random_rows(len(r.rows), factor, rng)) for r in refits]
    null_pairs = list(combinations(nulls, 2))
    threshold = max(
        float(np.quantile(np.concatenate([_best(*pair) for pair in pairs]), CHANCE_QUANTILE))
        for pairs in (random, null_pairs)
        if pairs
    )
    cosine, correlation, mutual = zip(*(_compare(model, refit) for refit in refits), strict=True)
    return RefitStability(
        alive=model.alive,
        cosine=np.stack(cosine, 1),
        correlation=np.stack(correlation, 1),
        mutual=np.stack(mutual, 1),
        agreement=_agreement([model, *refits]),
        random=np.array([_paired(*pair) for pair in random]),
        null=np.array([_paired(*pair) for pair in null_pairs]),
        threshold=threshold,
    )


def _directions(bench: Bench, weights: SaeWeights) -> Directions:
    encoded = bench.encode(weights)
    alive = np.flatnonzero(encoded.n_active > 0)
    return Directions(alive, (weights.W_dec / bench.standardizer.scale)[alive], encoded.codes[:, alive])


def _compare(model: Directions, refit: Directions) -> tuple[FloatArray, FloatArray, BoolArray]:
    matches = match_features(CosineSimilarity.of(model.rows, refit.rows))
    first, second = Activity.of(model.codes), Activity.of(refit.codes[:, np.maximum(matches.best, 0)])
    products = np.asarray(first.scaled.multiply(second.scaled).sum(0)).ravel()
    return matches.best_similarity, products - first.shift * second.shift, matches.mutual


def _best(first: FloatArray, second: FloatArray) -> FloatArray:
    return match_features(CosineSimilarity.of(first, second)).best_similarity


def _paired(first: FloatArray, second: FloatArray) -> float:
    """Mean cosine of directions paired one to one; those without partner count as 0."""
    matched = match_features(CosineSimilarity.of(first, second)).similarity
    return float(matched.sum()) / max(len(first), len(second))


def _agreement(fits: list[Directions]) -> FloatArray:
    agreement = np.eye(len(fits))
    for i, j in combinations(range(len(fits)), 2):
        agreement[i, j] = agreement[j, i] = _paired(fits[i].rows, fits[j].rows)
    return agreement
