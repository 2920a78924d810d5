from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from saescape._rows import RowSource
from saescape.representations import _reduce
from saescape.representations._baselines import pooled, random_relu, unit_rows, whitened
from saescape.representations._reduce import principal_components


def tokens(seed=0):
    return np.random.default_rng(seed).normal(3, 1, size=(50, 6, 4)).astype(np.float32)


def test_pooling_averages_positions_and_keeps_sparse_rows_sparse():
    x = tokens()
    np.testing.assert_allclose(pooled(RowSource(x)), x.mean(1), rtol=1e-6)
    assert sparse.issparse(pooled(RowSource(sparse.csr_matrix(x[:, 0]))))


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("limit", [2048, 3])
def test_components_are_those_of_scikit_learn(kind, limit, monkeypatch):
    x = np.maximum(np.random.default_rng(0).normal(size=(80, 8)) * np.arange(1, 9) + 100, 0).astype(np.float32)
    monkeypatch.setattr(_reduce, "_MAX_COVARIANCE", limit)
    found = principal_components(kind(x), 3, np.random.default_rng(0))
    expected = PCA(3).fit_transform(x.astype(np.float64))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=2e-3)


def test_whitening():
    x = tokens()[:, 0] @ np.diag([10.0, 1.0, 0.1, 0.0])
    found = whitened(RowSource(x.astype(np.float32)), np.random.default_rng(0))
    assert found.shape == (50, 3)
    np.testing.assert_allclose(np.cov(found.T, ddof=0), np.eye(3), atol=1e-4)


def test_unit_rows_keep_zeros():
    x = np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(unit_rows(x), [[0.6, 0.8], [0, 0]])


def test_random_expansion_comes_before_pooling():
    x = tokens()
    found = random_relu(RowSource(x), 30, np.random.default_rng(0))
    directions = np.random.default_rng(0).standard_normal((4, 30), dtype=np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    expected = np.maximum((x - x.mean((0, 1))) @ directions, 0).mean(1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # a linear map would have the rank of the representation
    assert np.linalg.matrix_rank(found) > 4
