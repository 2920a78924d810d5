from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import sparse, stats

from saescape.superposition import _nulls
from saescape.superposition._interference import interference, overlaps, scale_codes
from saescape.superposition._nulls import (
    assignment_null,
    compare,
    n_null_cells,
    permute_within_blocks,
    random_dictionary,
    usage_crowding,
    usage_null,
)


def codes_and_blocks(seed=0, n=60, m=8):
    rng = np.random.default_rng(seed)
    # densities from rare to always active, so that both ways of drawing rows are used
    codes = rng.exponential(size=(n, m)) * (rng.random((n, m)) < np.linspace(0.03, 1.0, m))
    return codes, rng.integers(0, 3, n)


def test_permutation_keeps_each_feature_within_each_block():
    codes, blocks = codes_and_blocks()
    drawn = permute_within_blocks(sparse.csr_matrix(codes), blocks, np.random.default_rng(1)).toarray()
    assert not np.allclose(drawn, codes)
    for block, feature in itertools.product(range(3), range(codes.shape[1])):
        rows = blocks == block
        np.testing.assert_array_equal(np.sort(drawn[rows, feature]), np.sort(codes[rows, feature]))


@pytest.mark.parametrize("n_active", [2, 4])
def test_every_arrangement_is_equally_likely(n_active):
    column = np.zeros((5, 1))
    column[:n_active, 0] = np.arange(1, n_active + 1)
    rng = np.random.default_rng(0)
    counts: dict[tuple[float, ...], int] = {}
    n_draws = 6_000
    for _ in range(n_draws):
        drawn = permute_within_blocks(sparse.csr_matrix(column), np.zeros(5, dtype=int), rng)
        key = tuple(drawn.toarray().ravel())
        counts[key] = counts.get(key, 0) + 1
    n_arrangements = int(np.prod(np.arange(5 - n_active + 1, 6)))
    assert len(counts) == n_arrangements
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_mean_of_permutations_is_the_closed_form():
    codes, blocks = codes_and_blocks()
    decoder = np.random.default_rng(2).normal(size=(8, 4))
    scaled, unit = scale_codes(sparse.csr_matrix(codes), decoder)
    rng = np.random.default_rng(0)
    crowding = [interference(permute_within_blocks(scaled, blocks, rng), unit).crowding for _ in range(300)]
    standard_error = np.std(crowding) / np.sqrt(300)
    assert abs(np.mean(crowding) - usage_crowding(scaled, blocks)) < 4 * standard_error


def test_assignment_draws_are_scores_of_reordered_dictionaries():
    codes, _ = codes_and_blocks()
    decoder = np.random.default_rng(2).normal(size=(8, 4))
    scaled, unit = scale_codes(sparse.csr_matrix(codes), decoder)
    crowding = interference(scaled, unit).crowding
    result = assignment_null(scaled, unit, crowding=crowding, n_perms=5, rng=np.random.default_rng(3))
    rng = np.random.default_rng(3)
    expected = [interference(scaled, unit[rng.permutation(8)]).score for _ in range(5)]
    np.testing.assert_allclose(result.values, expected, rtol=1e-6)


def test_assignment_null_of_a_wide_dictionary_uses_some_features(monkeypatch):
    codes, _ = codes_and_blocks(m=30)
    scaled, unit = scale_codes(sparse.csr_matrix(codes), np.random.default_rng(2).normal(size=(30, 6)))
    monkeypatch.setattr(_nulls, "TILE_ENTRIES", 400)
    values = assignment_null(scaled, unit, crowding=1.0, n_perms=200, rng=np.random.default_rng(0)).values
    # rows are uniform in direction: whatever features are chosen, squared cosines are about 1/d
    assert values.mean() == pytest.approx(1 / 6, rel=0.2)


def test_random_dictionary_moments_match_simulation():
    codes, _ = codes_and_blocks(n=30)
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(2_000):
        scaled, unit = scale_codes(sparse.csr_matrix(codes), rng.normal(size=(8, 5)))
        unit_codes = sparse.csr_matrix(codes)
        scores.append(interference(unit_codes, unit).score)
    mean, sd = random_dictionary(interference(sparse.csr_matrix(codes), unit), 5)
    assert np.mean(scores) == pytest.approx(mean, abs=4 * sd / np.sqrt(2_000))
    assert np.std(scores) == pytest.approx(sd, rel=0.08)


def test_pvalue_and_ties():
    assert compare(1.0, np.array([0.5, 1.0, 2.0])).pvalue == pytest.approx(3 / 4)
    assert compare(3.0, np.zeros(9)).pvalue == pytest.approx(1 / 10)
    # zero up to rounding is not above zero
    assert compare(3e-15, np.zeros(9)).pvalue == 1
    assert np.isnan(compare(1.0, np.array([1.0])).z)


def test_fewer_cells_only_when_there_is_much_to_do():
    small = sparse.random(300, 50, 0.2, format="csr", rng=0)
    assert n_null_cells(small, 100) == 300
    large = sparse.random(20_000, 300, 0.3, format="csr", rng=0)
    assert 1_000 <= n_null_cells(large, 1_000) < 20_000


def simulate(seed, kind, n=150, m=24, d=8):
    rng = np.random.default_rng(seed)
    decoder, usage = rng.normal(size=(m, d)), rng.uniform(0.05, 0.4, m)
    strength, plate = rng.gamma(3.0, 1 / 3, (n, m)), np.repeat(np.arange(5), n // 5)
    active = rng.random((n, m)) < usage
    if kind == "topk":
        weighted = strength * usage
        active = weighted >= np.sort(weighted, 1)[:, [-5]]
    elif kind == "plates":
        # each feature has a plate on which it is common
        active = rng.random((n, m)) < np.where(rng.integers(0, 5, m) == np.arange(5)[:, None], 0.7, 0.03)[plate]
    elif kind == "aligned":
        # features of a module fire together and have similar directions
        module = np.arange(m) % 6
        decoder = decoder + rng.normal(size=(6, d))[module]
        active = (rng.random((n, 6)) < 0.3)[:, module] & (rng.random((n, m)) < 0.6)
    return sparse.csr_matrix(strength * active), decoder, plate


def pvalues(kind, *, blocked=False, n_sets=120, n_perms=39, null="usage"):
    result = np.empty(n_sets)
    for seed in range(n_sets):
        codes, decoder, plate = simulate(seed, kind)
        scaled, unit = scale_codes(codes, decoder)
        rng = np.random.default_rng(1_000 + seed)
        blocks = plate if blocked else np.zeros_like(plate)
        if null == "usage":
            drawn = usage_null(scaled, unit, blocks, crowding=1.0, n_perms=n_perms, rng=rng)
        else:
            drawn = assignment_null(scaled, unit, crowding=1.0, n_perms=n_perms, rng=rng)
        # spread evenly over the step of the permutation p-value
        result[seed] = drawn.pvalue - rng.random() / (1 + n_perms)
    return result


@pytest.mark.parametrize("kind", ["independent", "topk"])
def test_pvalues_are_uniform_when_coactivation_ignores_geometry(kind):
    assert stats.kstest(pvalues(kind), "uniform").pvalue > 0.01


def test_plates_are_calibrated_only_when_blocked():
    assert stats.kstest(pvalues("plates"), "uniform").pvalue < 1e-3
    assert stats.kstest(pvalues("plates", blocked=True), "uniform").pvalue > 0.01


def test_assignment_pvalues_are_uniform_for_plates_without_blocks():
    assert stats.kstest(pvalues("plates", null="assignment"), "uniform").pvalue > 0.01


@pytest.mark.parametrize("null", ["usage", "assignment"])
def test_alignment_of_coactivation_and_geometry_is_found(null):
    assert np.mean(pvalues("aligned", null=null, n_sets=30) <= 0.05) > 0.8


def test_a_cell_of_the_null_is_drawn_from_its_own_block_only():
    codes = np.zeros((6, 2))
    codes[:3] = 1.0
    blocks = np.array([0, 0, 0, 1, 1, 1])
    scaled, unit = scale_codes(sparse.csr_matrix(codes), np.ones((2, 1)))
    np.testing.assert_allclose(
        overlaps([permute_within_blocks(scaled, blocks, np.random.default_rng(0))], unit), overlaps([scaled], unit)
    )
