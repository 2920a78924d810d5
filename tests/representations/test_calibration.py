"""p-values are uniform without association, and for plate-clustered data only when permuted within plates."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

from saescape.representations._agreement import knn_accuracy, neighbor_purity
from saescape.representations._autocorrelation import autocorrelation
from saescape.representations._folds import folds
from saescape.representations._graph import nearest
from saescape.representations._linear import train_folds
from saescape.representations._null import ALTERNATIVE, against_null
from saescape.representations._permutations import Permutations, permutation_unit
from saescape.representations._probe import probe_accuracy
from saescape.representations._ridge import ridge_r2

N, N_PERMS, N_SIMS, K = 60, 29, 150, 8
NUMBERS = ("morans_i", "gearys_c", "local_sd_ratio", "knn_r2", "ridge_r2")
LABELS = ("neighbor_purity", "knn_accuracy", "probe_accuracy")
PLATE = np.arange(N) // 10


def phenotype(kind, rng):
    match kind:
        case "gaussian":
            return rng.normal(size=N)
        case "80% zeros":
            y = rng.exponential(size=N) * (rng.random(N) < 0.2)
            return y if y.any() else phenotype(kind, rng)
        case "plates":
            return rng.normal(size=6)[PLATE] + rng.normal(size=N)
        case "constant within plates":
            return rng.normal(size=6)[PLATE]
        case "labels":
            return rng.choice(3, N, p=[0.6, 0.3, 0.1])
        case "labels by plate":
            return (rng.random(N) < rng.beta(0.5, 0.5, 6)[PLATE]).astype(int)


@cache
def pvalues(kind, blocked):
    """p-values `(n_sims,)` of each statistic, made continuous within their steps."""
    rng = np.random.default_rng(0)
    plates = kind in {"plates", "constant within plates", "labels by plate"}
    block = PLATE if blocked else np.zeros(N, dtype=int)
    result = {name: [] for name in (LABELS if "labels" in kind else NUMBERS)}
    for sim in range(N_SIMS):
        x = rng.normal(size=(N, 4)) + (2 * rng.normal(size=(6, 4))[PLATE] if plates else 0)
        y = phenotype(kind, rng)
        if not np.ptp(y):
            continue
        perms = Permutations(block, permutation_unit(y, block, labels="labels" in kind), N_PERMS, sim)
        neighbors = nearest(x, K, rng)
        held_out = train_folds(x, folds(N, block if blocked else None))
        if "labels" in kind:
            n_labels = int(y.max()) + 1
            found = {
                "neighbor_purity": neighbor_purity(neighbors, y, [K], perms)[0],
                "knn_accuracy": knn_accuracy(neighbors, y, n_labels, [K], perms)[0],
                "probe_accuracy": probe_accuracy(x, y, n_labels, held_out, perms),
            }
        else:
            found = {name: value[0] for name, value in autocorrelation(neighbors, y, [K], perms).items()}
            found["ridge_r2"] = ridge_r2(x, y, held_out, perms)
        for name, value in found.items():
            # ties with the observed value count as extreme: uniform between the p-values without and with them
            sign = 1 if ALTERNATIVE[name] == "greater" else -1
            low = np.sum(sign * (value[1:] - value[0]) > 1e-9) / (N_PERMS + 1)
            high = against_null(name, value)["pvalue"]
            result[name].append(low + rng.random() * (high - low))
    return {name: np.array(values) for name, values in result.items()}


def uniform(values):
    return stats.kstest(values, "uniform").pvalue


@pytest.mark.parametrize("statistic", NUMBERS)
@pytest.mark.parametrize("kind", ["gaussian", "80% zeros"])
def test_uniform_without_association(kind, statistic):
    assert uniform(pvalues(kind, False)[statistic]) > 0.01


@pytest.mark.parametrize("statistic", LABELS)
def test_uniform_without_association_of_labels(statistic):
    assert uniform(pvalues("labels", False)[statistic]) > 0.01


@pytest.mark.parametrize("statistic", NUMBERS)
def test_plates_look_like_association_unless_blocked(statistic):
    assert uniform(pvalues("plates", False)[statistic]) < 1e-6
    assert np.mean(pvalues("plates", False)[statistic] < 0.05) > 0.2
    assert uniform(pvalues("plates", True)[statistic]) > 0.01


@pytest.mark.parametrize("statistic", LABELS)
def test_labels_that_differ_between_plates(statistic):
    assert uniform(pvalues("labels by plate", False)[statistic]) < 1e-6
    assert uniform(pvalues("labels by plate", True)[statistic]) > 0.01


@pytest.mark.parametrize("statistic", ["morans_i", "gearys_c", "local_sd_ratio", "ridge_r2"])
def test_plates_are_the_sample_when_the_phenotype_belongs_to_them(statistic):
    assert uniform(pvalues("constant within plates", False)[statistic]) < 1e-6
    assert uniform(pvalues("constant within plates", True)[statistic]) > 0.01


def test_published_null_levels_of_the_local_sd_ratio():
    """Reference values without structure: .84 .93 .93 .96 .97 for Gaussian, lower with 80 % zeros."""
    rng = np.random.default_rng(0)
    x, perms = rng.normal(size=(500, 5)), Permutations(np.zeros(500, dtype=int), "cells", 60, 0)
    neighbors = nearest(x, 25, rng)
    gaussian, zeros = rng.normal(size=500), rng.exponential(size=500) * (np.arange(500) < 100)
    means = [autocorrelation(neighbors, y, [5, 25], perms)["local_sd_ratio"][:, 1:].mean(1) for y in (gaussian, zeros)]
    np.testing.assert_allclose(means[0], [0.84, 0.97], atol=0.02)
    assert means[1][0] < 0.7 < 0.85 < means[1][1] < 0.95
