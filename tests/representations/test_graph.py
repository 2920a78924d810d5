"""Neighbours are exact, sorted, and never the row itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

from saescape.representations import _graph
from saescape.representations._graph import nearest, nearest_elsewhere


def cloud(n=120, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def brute_force(x, k, forbidden=None):
    distances = cdist(x.astype(np.float64), x.astype(np.float64))
    np.fill_diagonal(distances, np.inf)
    if forbidden is not None:
        distances[forbidden] = np.inf
    return np.argsort(distances, axis=1)[:, :k]


@pytest.mark.parametrize("kind", ["dense", "offset", "sparse", "sparse blocks"])
def test_nearest_is_exact_and_sorted(kind, monkeypatch):
    x = np.maximum(cloud(), 0) + np.arange(4, dtype=np.float32) * 1e-3 * cloud(seed=1)
    given = {"dense": x, "offset": x + 500}.get(kind, sparse.csr_matrix(x))
    if kind == "sparse blocks":
        monkeypatch.setattr(_graph, "_DENSE_BYTES", 0)
        monkeypatch.setattr(_graph, "_BLOCK_ENTRIES", 500)
    if kind == "offset":
        x = given
    found = nearest(given, 9, np.random.default_rng(0))
    np.testing.assert_array_equal(found, brute_force(x, 9))


def test_equal_rows_are_neighbours_of_each_other_and_no_row_of_itself():
    x = np.repeat(cloud(10), 6, axis=0)
    for k in (5, 8):
        found = nearest(x, k, np.random.default_rng(0))
        assert not np.any(found == np.arange(60)[:, None])
        np.testing.assert_array_equal(np.sort(found[:, :5] // 6), np.repeat(np.arange(10), 6)[:, None].repeat(5, 1))


@pytest.mark.parametrize("blocks", [False, True])
def test_neighbours_elsewhere(blocks, monkeypatch):
    x, fold = cloud(), np.arange(120) % 3
    given = sparse.csr_matrix(x) if blocks else x
    if blocks:
        monkeypatch.setattr(_graph, "_DENSE_BYTES", 0)
    found = nearest_elsewhere(given, fold, 7, np.random.default_rng(0))
    np.testing.assert_array_equal(found, brute_force(x, 7, fold[:, None] == fold))


def test_many_rows_use_an_index_and_fewer_rows_to_predict_from(monkeypatch):
    x, fold = cloud(), np.arange(120) % 2
    monkeypatch.setattr(_graph, "MAX_EXACT", 30)
    seen = []

    def approximate(x, k, rng):
        """Exact but for row 3, which does not find itself."""
        seen.append(k)
        found = np.concatenate([np.arange(120)[:, None], brute_force(x, k - 1)], 1)
        found[3] = brute_force(x, k)[3]
        return found

    monkeypatch.setattr(_graph, "_approximate", approximate)
    np.testing.assert_array_equal(nearest(x, 10, np.random.default_rng(0)), brute_force(x, 10))
    assert seen == [11]
    elsewhere = nearest_elsewhere(x, fold, 5, np.random.default_rng(0))
    assert np.all(fold[elsewhere] != fold[:, None])
    assert len(np.unique(elsewhere)) <= 60
    distances = cdist(x[fold == 0], x[np.unique(elsewhere[fold == 0])])
    np.testing.assert_allclose(
        np.linalg.norm(x[fold == 0] - x[elsewhere[fold == 0, 0]], axis=1), distances.min(1), rtol=1e-5
    )
