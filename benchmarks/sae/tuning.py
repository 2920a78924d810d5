"""The defaults, and the best that a coordinate-wise search around them finds on the same data."""

from __future__ import annotations

import math
import time
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from saescape import metrics, tl
from saescape.sae._stability import matched_cosines, random_rows, spread_factor

from .default_sets import SIMULATED, describe, load
from .quality import matched_cosine

if TYPE_CHECKING:
    from .default_sets import DataSet

#: seeds of the data that are searched, and of those the winner is tried on
SEED, NEW_SEED = 11, 12
#: neighbours of an observation whose recall is measured for tokens
N_NEIGHBORS = 15
#: features active in a smaller share of the rows are left out of one of the two figures of stability
MIN_SHARE = 0.003
_LADDER = (0.4, 0.63, 1.0, 1.6, 2.5)
#: what is changed when only whether everything runs is wanted
_QUICK = {"max_epochs": 4}


class Fit(NamedTuple):
    label: str
    settings: dict[str, Any]
    params: dict[str, Any]
    scores: dict[str, float]
    #: of features that are active somewhere, and in which share of the rows
    directions: np.ndarray
    shares: np.ndarray


class Comparison(NamedTuple):
    name: str
    size: str
    simulated: bool
    default: Fit
    tuned: list[Fit]
    #: default and winner on data of another seed
    new_default: Fit | None
    new_tuned: Fit | None
    baselines: dict[str, float]
    #: agreement of two seeds, by what was compared
    stability: dict[str, float]
    seconds: float


def fit(data: DataSet, label: str, *, rng: int = 0, **settings) -> Fit:
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tl.sae_fit(data.adata, use_rep=data.use_rep, rng=rng, device="cpu", show_progress_bar=False, **settings)
    seconds = time.process_time() - start
    slot, codes = data.adata.uns["sae"], data.adata.obsm["X_sae"]
    alive = ~slot["features"]["dead"].to_numpy()
    directions = slot["weights"]["W_dec"][alive]
    scores = {name: float(slot["metrics"][name]) for name in ("fvu", "l0", "n_dead")} | {"seconds": seconds}
    if data.truth is not None:
        scores["mmcs"] = metrics.mmcs(directions, data.truth.dictionary)
        scores["mcc"] = recovered(directions, data.truth.dictionary)
        scores["mcc codes"] = metrics.mcc(codes, data.truth.codes)
        if data.is_tokens:
            scores["recall"] = metrics.knn_recall(codes, data.truth.codes, k=N_NEIGHBORS)
    shares = slot["features"]["frac_active"].to_numpy()[alive]
    return Fit(label, settings, dict(slot["params"]), scores, directions, shares)


def recovered(directions: np.ndarray, dictionary: np.ndarray) -> float:
    """Mean cosine of true directions with learned ones, one to one; those without a partner count as 0."""
    return matched_cosine(directions, dictionary) * min(1.0, len(directions) / len(dictionary))


def reference_k(data: DataSet, default: Fit) -> int:
    """Active features around which the ladder is built: those of the truth, or those of the default's codes."""
    return max(1, round(default.scores["l0"] if data.truth is None else data.truth.l0))


def ladder(data: DataSet, default: Fit, *, quick: bool) -> list[int]:
    """At least five numbers of active features around the reference, that of the default among them."""
    reference = reference_k(data, default)
    factors = _LADDER[1:4] if quick else _LADDER
    numbers = {max(1, round(reference * factor)) for factor in factors} | {int(default.params["k"])}
    unused = (number for number in range(1, 100) if number not in numbers)
    while len(numbers) < len(factors):
        numbers.add(next(unused))
    return sorted(number for number in numbers if number <= default.params["n_features"] // 2)


def curve_at(l0: float, rungs: list[Fit]) -> float:
    """FVU of the ladder at that L0, straight between rungs on logarithmic axes."""
    points = sorted((math.log(rung.scores["l0"]), math.log(rung.scores["fvu"])) for rung in rungs)
    return math.exp(np.interp(math.log(l0), *zip(*points, strict=True)))


def fvu_at_equal_l0(fitted: Fit, l0: float, rungs: list[Fit]) -> float:
    """FVU moved to that L0 along the curve of the ladder."""
    return fitted.scores["fvu"] * curve_at(l0, rungs) / curve_at(fitted.scores["l0"], rungs)


def quality(fitted: Fit) -> float:
    """What is tuned where the truth is known: recovery of directions and, for tokens, of neighbours as well."""
    return sum(fitted.scores.get(name, 0.0) for name in ("mmcs", "mcc", "recall"))


def search(data: DataSet, default: Fit, *, quick: bool) -> list[Fit]:
    """Tune `k`, then the width, the learning rate, the length and the architecture, each at the best so far.

    On real data more active features always reconstruct better, so there the ladder of `k` only gives the curve, and
    everything else is tuned at the default's L0. Codes are inferred as those of the default are.
    """
    common = {"inference": default.params["inference"]} | (_QUICK if quick else {})
    rungs = [fit(data, f"k {k}", k=k, **common) for k in ladder(data, default, quick=quick)]

    def value(fitted: Fit) -> float:
        if data.truth is not None:
            return quality(fitted)
        return -fvu_at_equal_l0(fitted, default.scores["l0"], rungs)

    reference = reference_k(data, default)
    pool = [rung for rung in rungs if data.truth is not None or rung.settings["k"] == reference]
    tried = list(rungs)
    for stage in (_widths,) if quick else (_widths, _rates, _lengths, _architectures):
        start = max(pool, key=value)
        for label, changes in stage(data, start).items():
            tried.append(fit(data, f"{start.label}, {label}", **(start.settings | changes)))
            pool.append(tried[-1])
    return tried


def _widths(data: DataSet, start: Fit) -> dict[str, dict]:
    m = start.params["n_features"]
    return {"m x 1/2": {"n_features": m // 2}, "m x 2": {"n_features": 2 * m}}


def _rates(data: DataSet, start: Fit) -> dict[str, dict]:
    lr = start.params["lr"]
    return {"lr x 1/2": {"lr": lr / 2}, "lr x 2": {"lr": 2 * lr}}


def _lengths(data: DataSet, start: Fit) -> dict[str, dict]:
    batch_size, n_steps = start.params["batch_size"], start.params["n_steps"]
    # a tenth of the rows is held out
    n_epochs = math.ceil(2 * n_steps * batch_size / (0.9 * len(data.rows)))
    return {"steps x 2": {"max_epochs": n_epochs, "batch_size": batch_size, "early_stopping": False}}


def _architectures(data: DataSet, start: Fit) -> dict[str, dict]:
    return {"batchtopk": {"architecture": "batchtopk"}}


def compare(name: str, *, quick: bool) -> Comparison:
    """Everything that is measured on one data set."""
    start = time.perf_counter()
    torch.set_num_threads(1)
    np.seterr(all="ignore")
    data = load(name, SEED)
    common = _QUICK if quick else {}
    default = fit(data, "default", **common)
    tuned = search(data, default, quick=quick)
    stability = _stability(data, default, fit(data, "default", rng=1, **common))
    new_default = new_tuned = None
    if name in SIMULATED:
        new = load(name, NEW_SEED)
        winner = max(tuned, key=quality)
        new_default, new_tuned = fit(new, "default", **common), fit(new, winner.label, **winner.settings)
    seconds = time.perf_counter() - start
    simulated, baselines = name in SIMULATED, _baselines(data, default)
    size = describe(name, data)
    return Comparison(name, size, simulated, default, tuned, new_default, new_tuned, baselines, stability, seconds)


def _baselines(data: DataSet, default: Fit) -> dict[str, float]:
    """What a random dictionary of the same size and principal components, in both directions, would score."""
    centred = data.rows - data.rows.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    components = vectors[:, ::-1].T
    n_kept = min(round(default.scores["l0"]), len(values))
    results = {"pca fvu": 1 - float(values[::-1][:n_kept].sum() / values.sum())}
    if data.truth is not None:
        random = np.random.default_rng(1).standard_normal(default.directions.shape)
        both = np.concatenate([components, -components])
        for label, directions in (("random", random), ("pca", both)):
            results[f"{label} mmcs"] = metrics.mmcs(directions, data.truth.dictionary)
            results[f"{label} mcc"] = recovered(directions, data.truth.dictionary)
    return results


def _stability(data: DataSet, first: Fit, second: Fit) -> dict[str, float]:
    """Mean cosine of features of two seeds matched one to one, as far as both have any left, and chance.

    Chance: as many random directions with the covariance of the data.
    """
    centred = data.rows - data.rows.mean(0, dtype=np.float64)
    factor, rng = spread_factor(centred), np.random.default_rng(1)
    results = {}
    for label, least in (("frequent", MIN_SHARE), ("alive", 0.0)):
        pair = [fitted.directions[fitted.shares >= least] for fitted in (first, second)]
        chance = [random_rows(len(side), factor, rng) for side in pair]
        # features left over would count as 0
        coverage = min(map(len, pair)) / max(1, *map(len, pair))
        results |= {f"n {label}": float(len(pair[0])), f"n {label}, other seed": float(len(pair[1]))}
        for name, sides in ((label, pair), (f"{label} random", chance)):
            results[name] = float(matched_cosines(*sides).mean()) / coverage if coverage else 0.0
    return results
