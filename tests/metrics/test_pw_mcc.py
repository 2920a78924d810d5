from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from saescape.metrics import pw_mcc


def random(n=20, d=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def brute_force(first, second):
    first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second))
    cosines = first @ second.T
    return max(cosines[np.arange(len(first)), list(order)].mean() for order in permutations(range(len(second))))


def test_equals_brute_force_over_matchings_and_pairs():
    dictionaries = [random(5, 3, seed=i) for i in range(3)]
    expected = [brute_force(*pair) for pair in combinations(dictionaries, 2)]
    score, info = pw_mcc(dictionaries, return_info=True)
    assert score == pytest.approx(np.mean(expected))
    np.testing.assert_allclose(info["pairs"][np.triu_indices(3, 1)], expected)
    np.testing.assert_allclose(info["pairs"], info["pairs"].T)
    np.testing.assert_array_equal(np.diag(info["pairs"]), 1)
    assert np.isnan(info["pvalue"])


def test_order_and_scale_do_not_matter_but_signs_do():
    first = random()
    same = np.random.default_rng(1).permutation(first) * np.random.default_rng(2).exponential(size=(20, 1))
    assert pw_mcc([first, same]) == pytest.approx(1)
    np.testing.assert_allclose(pw_mcc([np.eye(3), -np.eye(3)]), 0)
    np.testing.assert_allclose(pw_mcc([np.eye(1), -np.eye(1)]), -1)


def test_dead_and_unmatched_directions_count_zero():
    first = random()
    dead = first.copy()
    dead[:5] = 0
    assert pw_mcc([first, dead]) == pytest.approx(15 / 20)
    assert pw_mcc([first, first[5:]]) == pytest.approx(15 / 20)
    null = pw_mcc([first, dead], n_random=20, return_info=True)[1]["null"]
    alive = pw_mcc([first, first], n_random=20, return_info=True)[1]["null"]
    assert null.mean() < alive.mean() - 0.05


def test_null_of_independent_dictionaries(global_state):
    score, info = pw_mcc([random(seed=i) for i in range(3)], n_random=99, return_info=True)
    assert info["null"].shape == (99,)
    assert abs(score - info["null"].mean()) < 4 * info["null"].std()
    assert info["pvalue"] == (1 + (info["null"] >= score).sum()) / 100
    alike = [random() + 0.3 * random(seed=i) for i in (1, 2, 3)]
    assert pw_mcc(alike, n_random=99, return_info=True)[1]["pvalue"] == 0.01
    again = pw_mcc([random(seed=i) for i in range(3)], n_random=99, return_info=True)[1]
    np.testing.assert_array_equal(again["null"], info["null"])
    # dictionaries that were drawn with the same seed as the null do not come back in it
    assert pw_mcc([random()] * 2, n_random=5, rng=0, return_info=True)[1]["null"].max() < 0.8


def test_pvalues_are_uniform_for_independent_dictionaries():
    rng = np.random.default_rng(0)
    pvalues = [
        pw_mcc(list(rng.normal(size=(2, 12, 6))), n_random=19, rng=rng, return_info=True)[1]["pvalue"]
        for _ in range(200)
    ]
    assert np.mean(np.array(pvalues) <= 0.1) == pytest.approx(0.1, abs=0.06)
    assert np.mean(pvalues) == pytest.approx(0.525, abs=0.06)


@pytest.mark.parametrize(
    ("dictionaries", "error", "match"),
    [
        ([np.eye(3)], ValueError, "at least two, found 1"),
        ([np.eye(3), np.eye(4)], ValueError, r"rows of equal length, found \(3, 3\), \(4, 4\)"),
        ([np.eye(3), np.ones(3)], ValueError, "must be 2-D"),
        ([np.eye(3), np.empty((0, 3))], ValueError, "must be 2-D"),
        ([np.eye(2), np.array([[1.0, np.nan], [0, 1]])], ValueError, r"`dictionaries\[1\]` has 1 non-finite"),
    ],
)
def test_bad_input(dictionaries, error, match):
    with pytest.raises(error, match=match):
        pw_mcc(dictionaries)


def test_bad_number_of_draws():
    with pytest.raises(ValueError, match="`n_random` must be at least 0"):
        pw_mcc([np.eye(2), np.eye(2)], n_random=-1)
