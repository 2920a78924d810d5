from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from saescape.transport._embedding import choose_landmarks, default_neighbors, dense_costs, embed, prepare, unit_cost


@pytest.fixture
def cloud():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 4)) * [3, 2, 1, 0.5] + [5, 0, 0, 0]


def squared(points):
    return cdist(points, points, "sqeuclidean")


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_squared_distances_are_the_metric(cloud, metric):
    points = embed(cloud, metric, rank=60, rng=np.random.default_rng(0)).points
    rows = cloud if metric == "euclidean" else cloud / np.linalg.norm(cloud, axis=1, keepdims=True)
    truth = cdist(rows, rows)
    assert np.corrcoef(squared(points).ravel(), truth.ravel())[0, 1] > 0.9999
    np.testing.assert_allclose(squared(points).std(), 1, rtol=1e-3)
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-5)


def test_leading_axes_keep_geodesics(cloud):
    points = embed(cloud, "geodesic", n_neighbors=15, rng=np.random.default_rng(0)).points
    costs, n_links = dense_costs(cloud, "geodesic", n_neighbors=15, rng=np.random.default_rng(0))
    assert n_links == 0
    assert np.corrcoef(squared(points).ravel(), costs.ravel())[0, 1] > 0.98
    np.testing.assert_allclose(costs.std(), 1)
    np.testing.assert_allclose(costs, costs.T)


def test_landmarks_approximate(cloud):
    full = embed(cloud, "euclidean", rng=np.random.default_rng(0)).points
    few = embed(cloud, "euclidean", n_landmarks=30, rng=np.random.default_rng(0)).points
    assert np.corrcoef(squared(full).ravel(), squared(few).ravel())[0, 1] > 0.95


@pytest.mark.parametrize("metric", ["geodesic", "euclidean", "cosine"])
def test_scale_does_not_matter(cloud, metric):
    first = embed(cloud, metric, rng=np.random.default_rng(0)).points
    second = embed(1e4 * cloud, metric, rng=np.random.default_rng(0)).points
    np.testing.assert_allclose(squared(first), squared(second), atol=5e-3)


def test_translation_does_not_matter_for_euclidean(cloud):
    first = embed(cloud, "euclidean", rng=np.random.default_rng(0)).points
    second = embed(cloud + 1000, "euclidean", rng=np.random.default_rng(0)).points
    np.testing.assert_allclose(squared(first), squared(second), atol=5e-3)


def test_unit_cost_is_exact():
    points = unit_cost(np.random.default_rng(0).gamma(1.0, size=(50, 3)))
    np.testing.assert_allclose(squared(points).std(), 1, rtol=1e-5)


@pytest.mark.parametrize("metric", ["geodesic", "euclidean", "cosine"])
def test_constant_data_is_an_error(metric):
    for call in (embed, dense_costs):
        with pytest.raises(ValueError, match="all distances are zero"):
            call(np.ones((20, 3)), metric, n_neighbors=5, rng=np.random.default_rng(0))


def test_rows_without_length_stay_zero():
    rows = prepare(np.array([[0.0, 0.0], [3.0, 4.0]]), "cosine")
    np.testing.assert_allclose(rows, [[0, 0], [0.6, 0.8]], rtol=1e-6)


def test_landmarks_are_distinct_and_cover_outliers():
    rng = np.random.default_rng(0)
    cloud = np.concatenate([rng.normal(size=(195, 2)), rng.normal(size=(5, 2)) + 50])
    chosen = choose_landmarks(cloud, 20, np.random.default_rng(1))
    assert len(np.unique(chosen)) == 20
    assert (chosen >= 195).any()
    np.testing.assert_array_equal(choose_landmarks(cloud, 500, rng), np.arange(200))
    assert pdist(cloud[chosen]).min() > 0


def test_default_neighbors():
    assert [default_neighbors(n, None) for n in (12, 60, 1000)] == [5, 10, 30]
    assert default_neighbors(1000, 7) == 7
