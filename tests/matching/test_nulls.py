from __future__ import annotations

import numpy as np
from scipy import sparse

from saescape.matching._nulls import RandomDirections, RandomFeatures, permuted_cells, pooled_pvalues
from saescape.sae._stability import unit_rows


def test_random_directions_have_mean_and_covariance_of_the_dictionary():
    rng = np.random.default_rng(0)
    for m, d in ((400, 5), (6, 30)):
        unit = unit_rows(rng.normal(size=(m, d)) * np.linspace(3, 0.1, d) + np.arange(d) / d)
        random = RandomDirections(unit)
        drawn = random.mean + rng.standard_normal((100_000, len(random.factor))) @ random.factor
        np.testing.assert_allclose(drawn.mean(0), unit.mean(0), atol=0.01)
        np.testing.assert_allclose(np.cov(drawn.T), np.cov(unit.T, bias=True), atol=0.01)
        np.testing.assert_allclose(np.linalg.norm(random.draw(9, rng), axis=1), 1, rtol=1e-6)


def test_random_features_have_the_values_of_the_dictionary():
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(1_000, 5)) * (rng.random((1_000, 5)) < [0.0, 0.01, 0.1, 0.5, 1.0])
    rows = rng.normal(size=(1_000, 1))
    drawn = RandomFeatures(rows, sparse.csr_matrix(codes)).draw(rng).toarray()
    np.testing.assert_allclose(np.sort(drawn, 0), np.sort(codes, 0))
    # one dimension has two directions only
    for column in drawn.T[1:]:
        active = rows[column > 0, 0]
        order = np.argsort(column[column > 0])
        assert (np.diff(active[order]) > 0).all() or (np.diff(active[order]) < 0).all()


def test_permuted_cells_keep_each_feature():
    codes = sparse.random(50, 6, 0.3, format="csr", random_state=0)
    permuted = permuted_cells(codes, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(permuted.toarray(), 0), np.sort(codes.toarray(), 0))
    assert (permuted != codes).nnz > 0


def test_pooled_pvalues_are_uniform_without_and_small_with_a_match():
    rng = np.random.default_rng(0)
    # features whose chance levels differ: only their own draws can tell
    level, spread = rng.uniform(0.2, 0.7, 500), rng.uniform(0.02, 0.1, 500)
    rates = []
    for _ in range(20):
        draws = level + spread * rng.gumbel(size=(21, 500))
        pvalue = pooled_pvalues(draws[0], draws[1:])[1]
        rates.append([(pvalue < alpha).mean() for alpha in (0.01, 0.05, 0.5)])
    np.testing.assert_allclose(np.mean(rates, 0), [0.01, 0.05, 0.5], rtol=0.25)
    zscore, pvalue = pooled_pvalues(level + 12 * spread, draws[1:])
    assert np.median(pvalue) < 1e-3
    assert (zscore > 3).all()


def test_draws_that_do_not_vary_have_no_pvalue():
    zscore, pvalue = pooled_pvalues(np.array([0.5, 0.5]), np.array([[0.1, 0.0], [0.2, 0.0], [0.4, 0.0]]))
    np.testing.assert_array_equal(np.isnan(zscore), [False, True])
    np.testing.assert_array_equal(np.isnan(pvalue), [False, True])
