from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.metrics import roc_auc_score

from saescape.annotation._rank_tests import (
    Target,
    between_groups,
    between_maxima,
    normal_pvalues,
    permuted_maxima,
    rank_effects,
)
from saescape.annotation._ranks import ranked_codes
from saescape.representations._permutations import Permutations

N, FEATURES, LABELS = 200, 5, 3


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = rng.integers(LABELS, size=N)
    codes = rng.integers(1, 6, (N, FEATURES)) * (rng.random((N, FEATURES)) < 0.4 + 0.2 * (labels == 1)[:, None])
    codes[:, 4] = 0
    return sparse.csr_matrix(codes.astype(float)), labels, rng.integers(4, size=N), rng.normal(size=N) + codes[:, 0]


def test_ranks_are_those_of_scipy(data):
    codes, _, group, _ = data
    ranks = ranked_codes(codes, group)
    for number, rows in enumerate(ranks.members()):
        np.testing.assert_array_equal(rows, np.flatnonzero(group == number))
        expected = stats.rankdata(codes[rows].toarray(), axis=0)
        np.testing.assert_allclose(ranks.above[rows].toarray() + ranks.zero[number], expected)
        np.testing.assert_allclose(ranks.spread[number], len(rows) * expected.var(0), atol=1e-6)
        np.testing.assert_array_equal(ranks.n_active[number], (codes[rows].toarray() > 0).sum(0))


def test_area_and_test_over_groups(data):
    codes, labels, group, _ = data
    result = rank_effects(ranked_codes(codes, group), Target(labels, LABELS), 1)
    for label in range(LABELS):
        for feature in range(4):
            areas = [
                roc_auc_score(labels[group == g] == label, codes[group == g, feature].toarray().ravel())
                for g in range(4)
            ]
            assert result.effect[label, feature] + 0.5 == pytest.approx(np.mean(areas))
            assert result.pvalue[label, feature] == pytest.approx(stats.ttest_1samp(areas, 0.5).pvalue)
    assert np.isnan(result.effect[:, 4]).all()
    assert (result.n_groups[:, :4] == 4).all()


def test_zscore_is_that_of_mann_whitney(data):
    codes, labels, _, _ = data
    result = rank_effects(ranked_codes(codes, np.zeros(N, dtype=int)), Target(labels, LABELS), 1)
    for label in range(LABELS):
        values = codes[:, 1].toarray().ravel()
        test = stats.mannwhitneyu(
            values[labels == label], values[labels != label], use_continuity=False, method="asymptotic"
        )
        assert normal_pvalues(result.zscore)[label, 1] == pytest.approx(test.pvalue)


def test_spearman(data):
    codes, _, group, numbers = data
    result = rank_effects(ranked_codes(codes, group), Target(numbers, 0), 1)
    for feature in range(4):
        rho = [
            stats.spearmanr(codes[group == g, feature].toarray().ravel(), numbers[group == g]).statistic
            for g in range(4)
        ]
        assert result.effect[0, feature] == pytest.approx(np.mean(rho))
        assert result.pvalue[0, feature] == pytest.approx(stats.ttest_1samp(rho, 0).pvalue)


def test_strength_is_one_for_the_best_a_feature_can_do():
    labels = np.repeat([0, 1], [60, 40])
    rare, exact, absent = np.zeros(100), np.zeros(100), np.zeros(100)
    rare[60:70], exact[60:], absent[:20] = 1, 2, 3
    codes = sparse.csr_matrix(np.stack([rare, exact, absent], 1))
    result = rank_effects(ranked_codes(codes, np.zeros(100, dtype=int)), Target(labels, 2), 1)
    np.testing.assert_allclose(result.strength[1], [1, 1, -1])
    np.testing.assert_allclose(result.effect[1] + 0.5, [0.625, 1, 1 / 3])


def test_a_perfect_label_has_a_small_but_positive_pvalue():
    labels, group = np.tile([0, 1], 60), np.repeat([0, 1, 2], 40)
    codes = sparse.csr_matrix(labels[:, None].astype(float))
    result = rank_effects(ranked_codes(codes, group), Target(labels, 2), 1)
    assert 0 < result.pvalue[1, 0] < 1e-3


@pytest.mark.parametrize("n_labels", [LABELS, 0])
def test_maxima_are_those_of_permuted_data(data, n_labels):
    codes, labels, group, numbers = data
    values = labels if n_labels else numbers
    permutations = Permutations(group, "cells", 5, 0)
    ranks = ranked_codes(codes, group)
    maxima = permuted_maxima(ranks, Target(values, n_labels), permutations)
    for number in range(5):
        permuted = values[permutations.rows(number + 1, number + 2)[:, 0]]
        expected = rank_effects(ranks, Target(permuted, n_labels), 1).zscore
        assert maxima[number] == pytest.approx(np.nanmax(np.abs(expected)))


def test_labels_of_whole_groups(data):
    codes = data[0]
    group = np.arange(N) % 8
    labels = (group % 2).astype(int)
    ranks = ranked_codes(codes, np.zeros(N, dtype=int))
    r, pvalue = between_groups(ranks, Target(labels, 2), group)
    means = np.stack([stats.rankdata(codes.toarray(), axis=0)[group == g].mean(0) for g in range(8)])
    for feature in range(4):
        expected = stats.ttest_ind(means[1::2, feature], means[::2, feature])
        assert pvalue[1, feature] == pytest.approx(expected.pvalue)
        assert np.sign(r[1, feature]) == np.sign(expected.statistic)
    assert np.isnan(pvalue[:, 4]).all()
    identity = Permutations(np.zeros(8, dtype=int), "cells", 20, 0)
    maxima = between_maxima(ranks, Target(labels, 2), group, identity)
    assert len(maxima) == 20
    assert np.all((maxima >= 0) & (maxima <= 1 + 1e-9))
    # two groups with a label are too few
    few = np.isin(group, [0, 1]).astype(int)
    assert np.isnan(between_groups(ranks, Target(few, 2), group)[1]).all()
