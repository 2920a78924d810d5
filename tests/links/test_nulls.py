from __future__ import annotations

import numpy as np
import pytest

from saescape.links._nulls import NullPool, false_discovery_rates, share_as_high


def test_moments_and_zscores_are_those_of_the_refits():
    rng = np.random.default_rng(0)
    observed, nulls = rng.normal(size=(3, 4)), rng.normal(size=(6, 3, 4)) * 2 + 1
    found = NullPool(6).add(observed, nulls)
    np.testing.assert_allclose(found.mean, nulls.mean(0))
    np.testing.assert_allclose(found.sd, nulls.std(0, ddof=1))
    np.testing.assert_allclose(found.zscore, (observed - nulls.mean(0)) / nulls.std(0, ddof=1))


def test_pvalues_rank_in_the_pool_of_all_left_out_nulls():
    rng = np.random.default_rng(1)
    observed, nulls = rng.normal(size=(3, 4)), rng.normal(size=(6, 3, 4))
    pool = NullPool(6)
    # in two blocks of features, as large data come
    found = np.concatenate([pool.add(observed[s], nulls[:, s]).zscore for s in (slice(0, 1), slice(1, 3))])
    pooled = []
    for i in range(6):
        others = np.delete(nulls, i, 0)
        pooled.append((nulls[i] - others.mean(0)) / others.std(0, ddof=1) * np.sqrt((7 / 6) / (6 / 5)))
    np.testing.assert_allclose(pool.strengths, [np.mean(found**2), *(np.mean(z**2) for z in pooled)])
    pooled = np.abs(pooled).ravel()
    expected = [(1 + np.sum(pooled >= abs(z))) / (1 + len(pooled)) for z in found.ravel()]
    np.testing.assert_allclose(pool.pvalues(found).ravel(), expected, atol=1 / 72 + 1e-9)


def test_pvalues_of_exchangeable_links_are_uniform():
    rng = np.random.default_rng(2)
    scale = rng.gamma(1, size=(40, 50))
    pool = NullPool(20)
    z = pool.add(rng.normal(size=scale.shape) * scale, rng.normal(size=(20, *scale.shape)) * scale).zscore
    p = pool.pvalues(z)
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(p < 0.5) == pytest.approx(0.5, abs=0.05)


def test_links_without_spread_have_no_pvalue():
    nulls = np.random.default_rng(3).normal(size=(5, 2, 2))
    nulls[:, 0, 0] = 0.3
    nulls[2, 1, 1] = np.nan
    pool = NullPool(5)
    z = pool.add(np.zeros((2, 2)), nulls).zscore
    p = pool.pvalues(z)
    np.testing.assert_array_equal(np.isnan(z), [[True, False], [False, True]])
    np.testing.assert_array_equal(np.isnan(p), np.isnan(z))
    q = false_discovery_rates(p)
    np.testing.assert_array_equal(np.isnan(q), np.isnan(z))


def test_false_discovery_rates_step_up():
    p = np.array([[0.01, 0.04], [0.03, np.nan]])
    # 3 tests: 0.01 * 3 / 1, 0.03 * 3 / 2, 0.04 * 3 / 3, made monotone from the right
    np.testing.assert_allclose(false_discovery_rates(p), [[0.03, 0.04], [0.04, np.nan]])
    assert np.isnan(false_discovery_rates(np.full((2, 2), np.nan))).all()


def test_share_as_high_counts_the_data_too():
    nulls = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]])
    np.testing.assert_allclose(share_as_high(np.array([2.0, 8.0]), nulls), [3 / 4, 1 / 4])
    assert np.isnan(share_as_high(np.array([np.nan, 1.0]), nulls)[0])
