from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

from saescape.superposition._distances import distance_distortion, distortion_share, pair_distances, sample_pairs
from saescape.superposition._neighbors import nearest_neighbors, neighbor_overlap


def test_pairs_are_distinct_and_complete_when_few():
    first, second = sample_pairs(6, 100, np.random.default_rng(0))
    assert len(first) == 15
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == 15
    first, second = sample_pairs(50, 100, np.random.default_rng(0))
    assert len(first) == 100
    assert (first < second).all()


def test_distances_and_neighbours_equal_brute_force():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 7)) * (rng.random((40, 7)) < 0.5)
    squared = cdist(x, x, "sqeuclidean")
    first, second = sample_pairs(40, 10_000, rng)
    for form in (x, sparse.csr_matrix(x), (x + 1e3)):
        np.testing.assert_allclose(pair_distances(form, first, second), squared[first, second], atol=1e-6)
        found = nearest_neighbors(form, 3)
        np.fill_diagonal(squared, np.inf)
        expected = np.sort(squared, 1)[:, :3]
        np.testing.assert_allclose(np.sort(np.take_along_axis(squared, found, 1), 1), expected, atol=1e-6)


def test_overlap_counts_shared_neighbours():
    first, second = np.array([[1, 2], [0, 2], [0, 1]]), np.array([[2, 1], [0, 3], [3, 4]])
    assert neighbor_overlap(first, second) == pytest.approx((2 + 1 + 0) / 6)


def test_distortion_share_of_proportional_and_of_disjoint_distances():
    d2 = np.array([1.0, 2.0, 5.0])
    assert distortion_share(d2, 3 * d2) == pytest.approx((0.0, 3.0))
    assert distortion_share(np.array([1.0, 0.0]), np.array([0.0, 1.0]))[0] == pytest.approx(2.0)
    assert np.isnan(distortion_share(np.zeros(2), np.ones(2))[0])


def test_an_orthonormal_dictionary_distorts_nothing():
    rng = np.random.default_rng(0)
    codes = sparse.csr_matrix(rng.random((50, 6)) * (rng.random((50, 6)) < 0.5))
    decoded = codes @ np.linalg.qr(rng.normal(size=(9, 6)))[0].T
    result = distance_distortion(codes, decoded, decoded + 5.0, n_pairs=10_000, rng=rng)
    assert result["share"] == pytest.approx(0, abs=1e-9)
    assert result["scale"] == pytest.approx(1)
    assert result["spearman"] == pytest.approx(1)
    assert result["knn_overlap_rep"] > 0.95
    unrelated = distance_distortion(codes, decoded, rng.normal(size=(50, 3)), n_pairs=10_000, rng=rng)
    assert unrelated["knn_overlap_rep"] == pytest.approx(unrelated["knn_overlap_chance"], abs=0.07)
    assert abs(unrelated["spearman_rep"]) < 0.15
