from __future__ import annotations

import numpy as np
import pytest
import torch

from saescape.superposition._gaussian import gaussian_null, gaussian_rows, refit_plan

CPU = torch.device("cpu")
FIT = {"architecture": "topk", "standardize": "center", "device": CPU}


def sparse_tokens(n=60, p=16, d=12, m=24, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.gamma(3.0, 1 / 3, (n, p, m)) * (rng.random((n, p, m)) < 0.06)
    rows = rng.normal(size=(m, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (codes @ rows + 0.02 * rng.normal(size=(n, p, d))).astype(np.float32)


def test_rows_have_mean_and_covariance_of_the_data():
    rng = np.random.default_rng(0)
    x = (rng.exponential(size=(20_000, 4)) @ rng.normal(size=(4, 4)) + 5).astype(np.float32)
    drawn = gaussian_rows(x, rng)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(0), x.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(x.T), atol=0.15 * np.cov(x.T).max())
    # exponential data are skewed, Gaussian ones are not
    skew = ((drawn - drawn.mean(0)) ** 3).mean(0) / drawn.std(0) ** 3
    assert np.abs(skew).max() < 0.1


def test_tokens_keep_covariances_between_and_within_cells():
    rng = np.random.default_rng(1)
    between, within = rng.normal(size=(3, 3)), rng.normal(size=(3, 3))
    x = (rng.normal(size=(4_000, 1, 3)) @ between + rng.normal(size=(4_000, 8, 3)) @ within).astype(np.float32)
    drawn = gaussian_rows(x, rng)
    assert drawn.shape == x.shape
    scale = np.cov(x.reshape(-1, 3).T).max()
    np.testing.assert_allclose(np.cov(drawn.mean(1).T), np.cov(x.mean(1).T), atol=0.06 * scale)
    np.testing.assert_allclose(np.cov(drawn.reshape(-1, 3).T), np.cov(x.reshape(-1, 3).T), atol=0.06 * scale)
    single = gaussian_rows(x[:, :1], rng)
    np.testing.assert_allclose(np.cov(single[:, 0].T), np.cov(x[:, 0].T), atol=0.1 * scale)


@pytest.mark.usefixtures("global_state")
def test_nothing_is_gained_on_gaussian_rows_and_much_on_sparse_ones():
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(400, 10)).astype(np.float32)
    nothing = gaussian_null(noise, n_features=32, k=3, n_refits=3, rng=np.random.default_rng(0), **FIT)
    assert abs(nothing.sparse_gain) < 0.12
    found = gaussian_null(sparse_tokens(), n_features=48, k=3, n_refits=1, rng=np.random.default_rng(0), **FIT)
    assert found.sparse_gain > 0.5
    # where there is nothing to resolve, features overlap more
    assert found.score.mean() < 0.7 * found.score_gaussian.mean()
    stored = found.as_dict()
    assert stored["n_refits"] == 1
    assert np.isnan(stored["sd"])
    assert stored["sparse_gain"] == pytest.approx(1 - stored["fvu_refitted"].mean() / stored["fvu"].mean())


def test_same_generator_same_result():
    x = sparse_tokens(30, 8)
    first, second = (
        gaussian_null(x, n_features=32, k=2, n_refits=1, rng=np.random.default_rng(5), **FIT) for _ in range(2)
    )
    np.testing.assert_array_equal(first.fvu_gaussian, second.fvu_gaussian)
    np.testing.assert_array_equal(first.score, second.score)


def test_refits_are_bounded():
    plan = refit_plan(20_000, 18_000, 512, architecture="topk", n_features=16_384, k=64, standardize="center")
    assert (plan.n_features, plan.k) == (1_024, 64)
    assert plan.n_steps == max(300, int(8e10 / (plan.batch_size * 1_024 * 512)))
    few = refit_plan(100, 90, 20, architecture="topk", n_features=500, k=40, standardize="center")
    assert (few.n_features, few.k) == (22, 22)
