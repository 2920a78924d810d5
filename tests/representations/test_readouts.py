"""Ridge, discriminant analysis, votes and purity against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import GroupKFold, PredefinedSplit, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from saescape.representations._agreement import knn_accuracy, neighbor_purity
from saescape.representations._folds import folds
from saescape.representations._graph import nearest, nearest_elsewhere
from saescape.representations._linear import train_folds
from saescape.representations._permutations import Permutations
from saescape.representations._probe import discriminants, probe_accuracy
from saescape.representations._ridge import ALPHAS, fold_error, ridge_r2

N = 160


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    batch = np.repeat(np.arange(8), 20)
    x = rng.normal(size=(N, 6)) * [1, 5, 0.1, 1, 1, 1] + 30
    y = x[:, 0] - 5 * x[:, 2] + rng.normal(size=N)
    return x, y, np.digitize(y, np.quantile(y, [0.3, 0.7])), batch


def free(n_perms=3):
    return Permutations(np.zeros(N, dtype=int), "cells", n_perms, 1)


def test_folds_are_those_of_scikit_learn(data):
    *_, batch = data
    fold = folds(N, batch)
    expected = [set(test) for _, test in GroupKFold(5).split(np.empty((N, 1)), groups=batch)]
    assert [set(np.flatnonzero(fold == i)) for i in range(5)] == expected
    assert folds(N, np.zeros(N)) is None
    assert set(folds(3, None)) == {0, 1, 2}
    np.testing.assert_array_equal(np.bincount(folds(N, None)), [32] * 5)


def gcv(x, y, alpha):
    """Generalised cross-validation error from the hat matrix itself."""
    z = (x - x.mean(0)) / x.std(0)
    hat = z @ np.linalg.inv(z.T @ z + alpha * np.eye(z.shape[1])) @ z.T + 1 / len(z)
    return np.mean((y - hat @ y) ** 2) / (1 - np.trace(hat) / len(z)) ** 2


@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_ridge_equals_scikit_learn_at_the_penalty_of_smallest_gcv(data, noise):
    x, y, _, batch = data
    y = y + noise * np.random.default_rng(1).normal(size=N)
    fold = folds(N, batch)
    predicted = np.empty(N)
    for number in range(5):
        train, test = fold != number, fold == number
        alpha = min(ALPHAS, key=lambda a: gcv(x[train], y[train], a))
        predicted[test] = make_pipeline(StandardScaler(), Ridge(alpha)).fit(x[train], y[train]).predict(x[test])
    found = ridge_r2(x, y, train_folds(x, fold), free())
    assert found[0] == pytest.approx(r2_score(y, predicted), abs=1e-9)
    permuted = y[free().rows(2, 3)[:, 0]]
    assert found[2] == pytest.approx(ridge_r2(x, permuted, train_folds(x, fold), free(1))[0])


def test_ridge_with_more_dimensions_than_rows_and_constant_columns(data):
    x, y, _, batch = data
    wide = np.concatenate([x, np.ones((N, 2)), np.random.default_rng(0).normal(size=(N, 300))], 1)
    fold = folds(N, batch)
    found = ridge_r2(wide, 3 * x[:, 0] + y, train_folds(wide, fold), free(20))
    model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    expected = r2_score(3 * x[:, 0] + y, cross_val_predict(model, wide, 3 * x[:, 0] + y, cv=PredefinedSplit(fold)))
    assert found[0] == pytest.approx(expected, abs=0.02)
    assert np.isfinite(found).all()


def test_error_of_a_fold_for_many_targets_is_that_of_each(data):
    x, y, _, batch = data
    fold = train_folds(x, folds(N, batch))[0]
    train, test = (x[fold.train] - fold.mean) @ fold.axes, (x[fold.test] - fold.mean) @ fold.axes
    np.testing.assert_allclose(train.T @ train, np.diag(fold.energy), atol=1e-6)
    targets = np.stack([y, np.random.default_rng(0).normal(size=N)], 1)
    both = fold_error(train, test, fold.energy, targets[fold.train], targets[fold.test])
    for i in range(2):
        single = targets[:, [i]]
        one = fold_error(train, test, fold.energy, single[fold.train], single[fold.test])
        assert both[i] == pytest.approx(one[0])


def test_discriminants_equal_the_inverse_of_the_covariance(data):
    x, _, codes, _ = data
    z = (x - x.mean(0)) / x.std(0)
    ridge = 6 / N * np.eye(6)
    means = np.array([z[codes == c].mean(0) for c in range(3)])
    within = sum((z[codes == c] - means[c]).T @ (z[codes == c] - means[c]) for c in range(3)) / N + ridge
    expected = z @ np.linalg.solve(within, means.T) - 0.5 * np.sum(means.T * np.linalg.solve(within, means.T), axis=0)
    energy, vectors = np.linalg.eigh(z.T @ z / N + ridge)
    scaled = vectors / np.sqrt(energy)
    shares = np.bincount(codes) / N
    found = discriminants(z @ scaled, (means @ scaled)[None], shares[None])
    np.testing.assert_allclose(found[0], expected, atol=1e-8)


def test_probe_equals_linear_discriminant_analysis(data):
    x, _, codes, batch = data
    fold = folds(N, batch)
    found = probe_accuracy(x, codes, 3, train_folds(x, fold), free(30))
    model = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3))
    predicted = cross_val_predict(model, x, codes, cv=PredefinedSplit(fold))
    # the ridge of d / n moves a decision or two
    assert found[0] == pytest.approx(balanced_accuracy_score(codes, predicted), abs=0.02)
    assert found[0] > found[1:].max()
    assert found[1:].mean() == pytest.approx(1 / 3, abs=0.04)


def test_a_label_missing_from_the_training_rows_is_never_predicted():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [70, 70, 20])
    batch = np.where(codes == 2, 7, np.arange(N) % 4)
    x = rng.normal(size=(N, 3)) + 5 * codes[:, None]
    found = probe_accuracy(x, codes, 3, train_folds(x, folds(N, batch)), free(1))
    assert found[0] == pytest.approx(2 / 3, abs=0.05)


def test_purity_and_votes(data):
    x, _, codes, batch = data
    fold = folds(N, batch)
    rng = np.random.default_rng(0)
    neighbors, elsewhere = nearest(x, 9, rng), nearest_elsewhere(x, fold, 9, rng)
    purity = neighbor_purity(neighbors, codes, [4, 9], free(300))
    for i, k in enumerate((4, 9)):
        assert purity[i, 0] == pytest.approx(np.mean(codes[neighbors[:, :k]] == codes[:, None]))
        counts = np.bincount(codes)
        assert purity[i, 1:].mean() == pytest.approx(np.sum(counts * (counts - 1)) / (N * (N - 1)), abs=0.004)
    votes = knn_accuracy(elsewhere, codes, 3, [4, 9], free(50))
    for i, k in enumerate((4, 9)):
        predicted = cross_val_predict(KNeighborsClassifier(k), x, codes, cv=PredefinedSplit(fold))
        assert votes[i, 0] == pytest.approx(balanced_accuracy_score(codes, predicted))
    permuted = codes[free(50).rows(7, 8)[:, 0]]
    assert votes[1, 7] == pytest.approx(knn_accuracy(elsewhere, permuted, 3, [9], free(1))[0, 0])
