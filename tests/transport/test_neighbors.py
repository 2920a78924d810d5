from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components, shortest_path
from scipy.spatial.distance import cdist

from saescape.transport._neighbors import geodesic_to, nearest, neighbor_graph


@pytest.fixture
def cloud():
    return np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)


def test_nearest_is_brute_force(cloud):
    index, distance = nearest(cloud[:10], cloud, 4)
    truth = cdist(cloud[:10], cloud)
    np.testing.assert_array_equal(index, np.argsort(truth, axis=1)[:, :4])
    np.testing.assert_allclose(distance, np.sort(truth, axis=1)[:, :4], atol=1e-5)
    without_self, _ = nearest(cloud, cloud, 3, exclude_self=True)
    np.testing.assert_array_equal(without_self, np.argsort(cdist(cloud, cloud), axis=1)[:, 1:4])


def test_small_distances_survive_a_large_offset():
    points = np.array([[1000.0, 0], [1000.1, 0], [1000.3, 0]])
    _, distance = nearest(points, points, 1, exclude_self=True)
    np.testing.assert_allclose(distance[:, 0], [0.1, 0.1, 0.2], atol=2e-4)


def test_nearest_leaves_out_the_own_group(cloud):
    group = np.arange(80) % 2
    index, _ = nearest(cloud, cloud, 1, groups=(group, group))
    assert (group[index[:, 0]] != group).all()


def test_components_are_joined_by_their_shortest_links():
    rng = np.random.default_rng(1)
    blobs = [rng.normal(scale=0.1, size=(20, 2)) + centre for centre in ([0, 0], [5, 0], [20, 0])]
    graph, n_links = neighbor_graph(np.concatenate(blobs), 5)
    assert n_links == 2
    assert connected_components(graph)[0] == 1
    dense = graph.toarray()
    assert dense[:20, 40:].sum() == 0  # the far blob is reached through the middle one
    for first, second in ((0, 1), (1, 2)):
        between = dense[20 * first : 20 * first + 20, 20 * second : 20 * second + 20]
        gap = cdist(blobs[first], blobs[second]).min()
        np.testing.assert_allclose(between[between > 0].min(), gap, rtol=1e-5)


def test_geodesics_are_shortest_paths(cloud):
    graph, n_links = neighbor_graph(cloud, 6)
    landmarks = np.array([3, 40, 77])
    distance, links = geodesic_to(cloud, landmarks, 6, np.random.default_rng(0))
    assert links == n_links
    np.testing.assert_allclose(distance, shortest_path(graph, directed=False)[:, landmarks], rtol=1e-5)
    assert (distance >= cdist(cloud, cloud[landmarks]) - 1e-5).all()


def test_anchors_approximate_the_full_graph():
    angle = np.sort(np.random.default_rng(0).uniform(0, np.pi, 600))
    arc = np.column_stack([np.cos(angle), np.sin(angle)])
    landmarks = np.array([0, 599])
    exact, _ = geodesic_to(arc, landmarks, 10, np.random.default_rng(0))
    approximate, _ = geodesic_to(arc, landmarks, 10, np.random.default_rng(0), n_anchors=200)
    assert np.corrcoef(exact.ravel(), approximate.ravel())[0, 1] > 0.999


def test_duplicated_cells_stay_connected():
    points = np.repeat(np.random.default_rng(0).normal(size=(5, 2)), 8, axis=0)
    graph, n_links = neighbor_graph(points, 5)
    assert connected_components(graph)[0] == 1
    assert n_links == 4
