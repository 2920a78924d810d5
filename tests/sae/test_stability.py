from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from saescape.sae._stability import matched_cosines, random_rows, spread_factor


def test_matching_is_the_best_of_all():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(4, 3)), rng.normal(size=(6, 3))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second)]
    cosines = unit[0] @ unit[1].T
    best = max(cosines[np.arange(4), list(choice)].sum() for choice in permutations(range(6), 4))
    matched = matched_cosines(first * 7, second)
    assert matched.shape == (6,)
    assert matched.sum() == pytest.approx(best)
    assert (matched == 0).sum() == 2
    assert matched_cosines(second, first).sum() == pytest.approx(best)


def test_sign_and_repeats_count():
    np.testing.assert_allclose(np.sort(matched_cosines(np.eye(3), np.eye(3)[[2, 0, 1]])), 1)
    np.testing.assert_allclose(matched_cosines(np.eye(2)[:1], -np.eye(2)[:1]), -1)
    # one direction held twice is found once
    np.testing.assert_allclose(np.sort(matched_cosines(np.eye(2), np.eye(2)[[0, 0]])), [0, 1])


def test_empty_dictionaries_agree_on_nothing():
    assert matched_cosines(np.empty((0, 3)), np.empty((0, 3))).tolist() == [0]
    assert matched_cosines(np.empty((0, 3)), np.eye(3)).tolist() == [0, 0, 0]


def test_random_rows_have_the_second_moments_of_the_sample():
    rng = np.random.default_rng(0)
    sample = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4))
    sample[:, 3] = sample[:, 0]
    factor = spread_factor(sample)
    np.testing.assert_allclose(factor.T @ factor, sample.T @ sample / 500, atol=1e-10)
    drawn = random_rows(50_000, factor, rng)
    np.testing.assert_allclose(drawn[:, 3], drawn[:, 0], atol=1e-6)
    np.testing.assert_allclose(drawn.T @ drawn / 50_000, sample.T @ sample / 500, atol=0.05 * np.abs(factor).max() ** 2)
