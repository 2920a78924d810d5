from __future__ import annotations

import numpy as np
import pytest

from saescape.sae._choose_k import choose_k, description_length, lowest_point


def test_bits_are_those_of_a_sum_written_out():
    codes = np.array([[2.0, 0, 0, 0], [0, 0, 1.5, 0], [0.5, 0, 3.0, 0], [1.0, 0, 0, 0]])
    rows, columns = codes.nonzero()
    error, n_dims = 0.25, 3
    bits = 0.5 * n_dims * np.log2(error)
    for feature in codes.T:
        p = (feature > 0).mean()
        if p > 0:
            bits -= p * np.log2(p)
    for value in codes[rows, columns]:
        bits += 0.5 * np.log2((error + value**2) / error) / 4
    sizes = {"n_rows": 4, "n_features": 4, "n_dims": n_dims, "error": error}
    assert description_length(columns, codes[rows, columns], **sizes) == pytest.approx(bits)


def test_entries_that_are_not_positive_and_features_that_are_always_active_say_nothing():
    sizes = {"n_rows": 2, "n_features": 3, "n_dims": 4, "error": 0.5}
    some = description_length(np.array([0, 1]), np.array([1.0, 2.0]), **sizes)
    padded = description_length(np.array([0, 1, 2, 2]), np.array([1.0, 2.0, 0.0, -3.0]), **sizes)
    assert padded == pytest.approx(some)
    always = description_length(np.array([0, 0]), np.array([1.0, 1.0]), **sizes)
    assert always == pytest.approx(2 * np.log2(0.5) + 0.5 * np.log2(3))


def test_differences_do_not_depend_on_the_unit():
    rng = np.random.default_rng(0)
    columns, values = rng.integers(0, 20, 300), rng.exponential(size=300)
    sizes = {"n_rows": 100, "n_features": 20, "n_dims": 8}

    def gain(unit):
        long = description_length(columns, unit * values, error=0.1 * unit**2, **sizes)
        return long - description_length(columns[:200], unit * values[:200], error=0.3 * unit**2, **sizes)

    assert gain(1e3) == pytest.approx(gain(1.0))


def test_exact_codes_have_a_finite_length():
    sizes = {"n_rows": 10, "n_features": 5, "n_dims": 3, "error": 0.0}
    assert np.isfinite(description_length(np.arange(5), np.ones(5), **sizes))
    assert np.isfinite(description_length(np.arange(0), np.ones(0), **sizes))


@pytest.mark.parametrize("peak", [2.9, 4.0, 5.0, 5.6])
@pytest.mark.parametrize("last", [8, 9])
def test_parabola_is_found_exactly(peak, last):
    tried = np.array([2, 4, last])
    bits = 3 * (np.log2(tried) - np.log2(peak)) ** 2 - 7
    assert lowest_point(tried, bits, int(bits.argmin())) == pytest.approx(peak)


@pytest.mark.parametrize(("bits", "best"), [([1.0, 2.0, 3.0], 0), ([3.0, 2.0, 1.0], 2), ([1.0, 2.0, 3.0], 1)])
def test_without_a_valley_the_point_itself(bits, best):
    assert lowest_point(np.array([1, 2, 4]), np.array(bits), best) == [1, 2, 4][best]


@pytest.mark.parametrize("n_active", [3, 6, 12])
@pytest.mark.parametrize("noise", [0.02, 0.08])
def test_true_number_of_active_features_is_found_within_a_factor_of_two(n_active, noise):
    rng = np.random.default_rng(0)
    n, d = 500, 128
    dictionary = np.linalg.qr(rng.standard_normal((d, d)))[0]
    true = np.zeros((n, d))
    for row in true:
        row[rng.choice(d, n_active, replace=False)] = 0.5 + rng.exponential(0.5, n_active)
    x = true @ dictionary + noise * rng.standard_normal((n, d))
    # the best non-negative codes of an orthonormal dictionary
    codes = np.maximum(x @ dictionary.T, 0)
    errors = []

    def measure(k):
        kept = np.where(codes >= np.sort(codes, axis=1)[:, [-k]], codes, 0)
        errors.append(np.square(x - kept @ dictionary).mean())
        columns = kept.nonzero()[1]
        return description_length(columns, kept[kept > 0], n_rows=n, n_features=d, n_dims=d, error=errors[-1])

    chosen = choose_k(measure, 64)
    assert n_active / 2 <= chosen.k <= 2 * n_active
    # the error alone would have chosen the largest
    assert (np.diff(errors) < 0).all()


def test_ladder_ends_after_two_rises_and_keeps_to_its_bounds():
    asked = []

    def valley(k):
        asked.append(k)
        return abs(np.log2(k) - 2.0)

    chosen = choose_k(valley, 100)
    assert (chosen.k, asked) == (4, [1, 2, 4, 8, 16])
    np.testing.assert_array_equal(chosen.tried, asked)
    np.testing.assert_array_equal(chosen.bits, [2, 1, 0, 1, 2])
    falling = choose_k(lambda k: -k, 21)
    assert (falling.k, falling.tried.tolist()) == (21, [1, 2, 4, 8, 16, 21])
    assert choose_k(lambda k: -k, 17).tried.tolist() == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(("largest", "k"), [(1, 1), (2, 2), (3, 2), (64, 2)])
def test_one_feature_per_row_is_chosen_only_when_no_more_are_allowed(largest, k):
    assert choose_k(float, largest).k == k


def test_a_clustering_does_not_hide_the_valley_behind_it():
    bits = {1: -50.0, 2: -44.0, 4: -46.0, 8: -38.0, 16: -20.0}
    assert 2 <= choose_k(bits.__getitem__, 16).k <= 4
