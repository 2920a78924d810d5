from __future__ import annotations

import numpy as np
import pytest

from saescape.metrics import mmcs


def test_closed_forms():
    truth = np.random.default_rng(0).normal(size=(30, 8))
    shuffled = 3 * np.random.default_rng(1).permutation(truth)
    assert mmcs(shuffled, truth) == pytest.approx(1)
    assert mmcs(np.vstack([shuffled, np.zeros((2, 8))]), truth) == pytest.approx(1)
    assert mmcs(np.array([[-1.0, 0]]), np.array([[1.0, 0]])) == pytest.approx(-1)
    angle = 0.3
    rotated = np.array([[np.cos(angle), np.sin(angle)]])
    assert mmcs(rotated, np.array([[1.0, 0], [0, 1.0]])) == pytest.approx((np.cos(angle) + np.sin(angle)) / 2)


def test_null_of_random_dictionaries(global_state):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 10))
    score, info = mmcs(rng.normal(size=(60, 10)), truth, n_random=99, return_info=True)
    assert info["null"].shape == (99,)
    # expected largest of 60 cosines of uniform directions, by simulation
    many = rng.normal(size=(500, 60, 10))
    many /= np.linalg.norm(many, axis=2, keepdims=True)
    assert info["null"].mean() == pytest.approx(many[:, :, 0].max(1).mean(), abs=0.01)
    assert abs(score - info["null"].mean()) < 4 * info["null"].std()
    assert info["pvalue"] == (1 + (info["null"] >= score).sum()) / 100
    np.testing.assert_array_equal(
        mmcs(truth, truth, n_random=3, return_info=True)[1]["null"],
        mmcs(truth, truth, n_random=3, return_info=True)[1]["null"],
    )
    found = mmcs(np.vstack([truth[::2], rng.normal(size=(40, 10))]), truth, n_random=99, return_info=True)[1]
    assert found["pvalue"] == 0.01
    np.testing.assert_array_equal(found["nearest"][::2], np.arange(20))
    np.testing.assert_allclose(found["cosines"][::2], 1)
    assert np.isnan(mmcs(truth, truth, return_info=True)[1]["pvalue"])


def test_dead_directions_do_not_help_the_null():
    rng = np.random.default_rng(0)
    learned, truth = rng.normal(size=(200, 8)), rng.normal(size=(20, 8))
    learned[5:] = 0
    null = mmcs(learned, truth, n_random=20, return_info=True)[1]["null"]
    few = mmcs(learned[:5], truth, n_random=20, return_info=True)[1]["null"]
    assert null.mean() == pytest.approx(few.mean(), abs=0.06)
    # 200 random directions would reach more
    assert null.mean() < mmcs(rng.normal(size=(200, 8)), truth) - 0.2


def test_a_dictionary_is_not_its_own_null():
    drawn = np.random.default_rng(0).standard_normal((32, 16))
    assert mmcs(drawn, drawn, n_random=5, rng=0, return_info=True)[1]["null"].max() < 0.6


def test_bad_input():
    with pytest.raises(TypeError, match="`n_random` must be an integer"):
        mmcs(np.ones((2, 3)), np.ones((2, 3)), n_random=2.5)
    with pytest.raises(ValueError, match="rows of equal length"):
        mmcs(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="1 rows of zeros"):
        mmcs(np.ones((2, 2)), np.array([[0.0, 0], [1, 0]]))
    with pytest.raises(ValueError, match="`dictionary` has 1 non-finite"):
        mmcs(np.array([[np.nan, 1]]), np.ones((2, 2)))
