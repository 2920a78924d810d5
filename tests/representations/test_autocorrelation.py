"""Moran, Geary, local SD and neighbours' prediction against other implementations and brute force."""

from __future__ import annotations

from itertools import permutations as all_orders

import numpy as np
import pytest
import scanpy as sc
from sklearn.metrics import r2_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from saescape.representations._autocorrelation import autocorrelation, knn_r2, shells
from saescape.representations._graph import nearest, nearest_elsewhere
from saescape.representations._moments import moran_moments
from saescape.representations._permutations import Permutations

KS = (3, 5, 8)


def setup(n=90, d=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    y = x[:, 0] + rng.exponential(size=n) + 100
    return x, y, nearest(x, max(KS), rng)


def free(n, n_perms=4):
    return Permutations(np.zeros(n, dtype=int), "cells", n_perms, 1)


def test_equal_to_scanpy_for_every_k_and_permutation():
    _, y, neighbors = setup()
    perms = free(90)
    found = autocorrelation(neighbors, y, KS, perms)
    for i, k in enumerate(KS):
        weights = sum(shells(neighbors[:, :k], [k]))
        for number in range(5):
            permuted = y[perms.rows(number, number + 1)[:, 0]]
            assert found["morans_i"][i, number] == pytest.approx(sc.metrics.morans_i(weights, permuted))
            assert found["gearys_c"][i, number] == pytest.approx(sc.metrics.gearys_c(weights, permuted))


def test_local_sd_ratio_is_the_mean_of_standard_deviations():
    _, y, neighbors = setup()
    found = autocorrelation(neighbors, y, KS, free(90))["local_sd_ratio"]
    for i, k in enumerate(KS):
        assert found[i, 0] == pytest.approx(np.mean([np.std(y[row[:k]]) for row in neighbors]) / np.std(y))
    assert np.all(found[:, 1:].mean(1) > found[:, 0])


def test_predictions_equal_scikit_learn_with_and_without_groups():
    x, y, neighbors = setup()
    fold = np.arange(90) % 4
    rng = np.random.default_rng(0)
    own = autocorrelation(neighbors, y, KS, free(90))["knn_r2"][:, 0]
    elsewhere = knn_r2(nearest_elsewhere(x, fold, 8, rng), y, KS, free(90))[:, 0]
    for i, k in enumerate(KS):
        for found, split in ((own, np.arange(90)), (elsewhere, fold)):
            predicted = cross_val_predict(KNeighborsRegressor(k), x, y, cv=PredefinedSplit(split))
            assert found[i] == pytest.approx(r2_score(y, predicted))


def test_moments_of_moran_are_exact():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 2)), rng.exponential(size=7)
    weights = shells(nearest(x, 2, rng), [2])[0]
    z = np.array([y[list(order)] for order in all_orders(range(7))])
    z = (z - y.mean()) / y.std()
    every = np.einsum("pi,pi->p", z, z @ weights.T.toarray()) / 14
    expected, _, sd = moran_moments(weights, y)
    assert expected == pytest.approx(every.mean())
    assert sd == pytest.approx(every.std())


def test_moments_of_moran_under_normality():
    _, _, neighbors = setup()
    weights = shells(neighbors[:, :5], [5])[0]
    z = np.random.default_rng(1).normal(size=(90, 40_000))
    z -= z.mean(0)
    values = np.einsum("ip,ip->p", z, weights @ z) / 5 / np.einsum("ip,ip->p", z, z)
    expected, sd, _ = moran_moments(weights, z[:, 0])
    assert values.mean() == pytest.approx(expected, abs=4 * sd / 200)
    assert values.std() == pytest.approx(sd, rel=0.02)
    # formulas without the graph are far off: the reference system used this one
    assert sd < 0.8 * np.sqrt((1 - expected**2) / 89)


def test_permutations_have_these_moments():
    _, y, neighbors = setup()
    null = autocorrelation(neighbors, y, [5], free(90, 3000))["morans_i"][0, 1:]
    expected, _, sd = moran_moments(shells(neighbors[:, :5], [5])[0], y)
    assert null.mean() == pytest.approx(expected, abs=4 * sd / np.sqrt(3000))
    assert null.std() == pytest.approx(sd, rel=0.06)
