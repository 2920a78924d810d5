from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from saescape.transport import _diffusion
from saescape.transport._diffusion import diffusion_points
from saescape.transport._embedding import dense_costs, embed
from saescape.transport._sparse_rows import SparseRows

K = 8


@pytest.fixture
def arc():
    """Cells along a noisy arc, denser at one end."""
    rng = np.random.default_rng(0)
    angle = np.pi * rng.random(150) ** 1.5
    return np.c_[np.cos(angle), np.sin(angle), 0.1 * rng.normal(size=150)] + 0.05 * rng.normal(size=(150, 3))


def clusters(gap, sizes=(40, 30)):
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(size=(n, 3)) + [i * gap, 0, 0] for i, n in enumerate(sizes)])


def points_of(x, **kwargs):
    kwargs = {"rank": None, **kwargs}
    return diffusion_points(x.astype(np.float32), K, np.random.default_rng(0), **kwargs)


def squared(points):
    return cdist(points, points, "sqeuclidean")


def by_powers(x, n_steps):
    """Diffusion distances from explicit powers of the transition matrix, entry by entry."""
    n = len(x)
    distance = cdist(x, x)
    reach = np.sort(distance, 1)[:, K]
    kernel = np.eye(n)
    for i in range(n):
        for j in range(n):
            if i != j and distance[i, j] <= max(reach[i], reach[j]):
                a, b = reach[i] / 2, reach[j] / 2
                size = a**2 + b**2
                kernel[i, j] = np.sqrt(2 * a * b / size) * np.exp(-(distance[i, j] ** 2) / size)
    density = kernel.sum(1)
    kernel /= np.outer(density, density)
    walk = kernel / kernel.sum(1, keepdims=True)
    stationary = kernel.sum(1) / kernel.sum()
    total = sum(np.linalg.matrix_power(walk, t) for t in range(1, n_steps + 1))
    return squared(total / np.sqrt(stationary))


def test_squared_distances_are_those_of_the_walks(arc):
    points, n_links = points_of(arc)
    truth = by_powers(arc.astype(np.float32).astype(float), _diffusion._N_STEPS)
    assert n_links == 0
    np.testing.assert_allclose(squared(points), truth, rtol=1e-3, atol=1e-4 * truth.max())


def test_leading_components_are_enough(arc):
    full, leading = squared(points_of(arc)[0]), squared(points_of(arc, rank=20)[0])
    assert leading.max() <= full.max() * (1 + 1e-4)
    assert np.corrcoef(full.ravel(), leading.ravel())[0, 1] > 0.99


def test_distances_along_the_arc_do_not_cut_across(arc):
    order = np.argsort(np.arctan2(arc[:, 1], arc[:, 0]))
    from_end = squared(points_of(arc)[0])[order[0], order]
    straight = cdist(arc[order[:1]], arc[order])[0]
    rank = np.arange(len(arc))
    spearman = [np.corrcoef(rank, np.argsort(np.argsort(d)))[0, 1] for d in (from_end, straight)]
    assert spearman[0] > 0.95


@pytest.mark.parametrize("gap", [12, 1e3, 1e6])
def test_clusters_are_joined_and_their_gap_does_not_matter(gap):
    points, n_links = points_of(clusters(gap))
    distances = squared(points)
    side = np.arange(70) >= 40
    between = distances[np.ix_(~side, side)]
    within = max(distances[np.ix_(~side, ~side)].max(), distances[np.ix_(side, side)].max())
    assert n_links == 1
    assert np.isfinite(distances).all()
    assert between.mean() > within / 2
    reference = squared(points_of(clusters(12))[0])
    assert np.corrcoef(distances.ravel(), reference.ravel())[0, 1] > 0.9


def test_copies_are_one_place(arc):
    copies = np.concatenate([arc, np.repeat(arc[:1], 40, 0), arc[1:3]])
    points, _ = points_of(copies)
    distances = squared(points)
    assert np.isfinite(points).all()
    same = np.r_[0, 150:190]
    assert distances[np.ix_(same, same)].max() < 0.05 * np.median(distances)
    assert distances[1, 190] < 0.05 * np.median(distances)


def test_copies_only(arc):
    points, n_links = points_of(np.repeat(arc[:5], 30, 0))
    distances = squared(points)
    cell = np.repeat(np.arange(5), 30)
    assert n_links == 4
    assert np.isfinite(points).all()
    assert distances[cell[:, None] == cell].max() < distances[cell[:, None] != cell].min()


def test_order_does_not_matter(arc):
    order = np.random.default_rng(3).permutation(len(arc))
    a, b = squared(points_of(arc)[0]), squared(points_of(arc[order])[0])
    np.testing.assert_allclose(b, a[np.ix_(order, order)], rtol=1e-3, atol=1e-3 * a.max())


def test_anchors_approximate_the_whole():
    rng = np.random.default_rng(0)
    angle = np.pi * rng.random(900)
    x = np.c_[np.cos(angle), np.sin(angle)] + 0.05 * rng.normal(size=(900, 2))
    x = x.astype(np.float32)
    # half the cells and half the neighbors: steps of the same length
    full, few = (
        squared(diffusion_points(x, k, np.random.default_rng(0), n_anchors=n)[0]) for k, n in ((24, 900), (12, 450))
    )
    assert np.corrcoef(full.ravel(), few.ravel())[0, 1] > 0.95
    # the cells that are no anchors as well as the others
    anchors = np.sort(np.random.default_rng(0).choice(900, 450, replace=False))
    others = np.setdiff1d(np.arange(900), anchors)
    a, b = full[np.ix_(others, others)].ravel(), few[np.ix_(others, others)].ravel()
    assert np.corrcoef(a, b)[0, 1] > 0.95


def test_embedding_and_dense_costs_agree(arc):
    points = embed(arc, "diffusion", n_neighbors=K, rng=np.random.default_rng(0)).points
    costs, n_links = dense_costs(arc, "diffusion", n_neighbors=K, rng=np.random.default_rng(0))
    assert n_links == 0
    np.testing.assert_allclose(costs.std(), 1)
    assert np.corrcoef(squared(points).ravel(), costs.ravel())[0, 1] > 0.98
    truth = np.sqrt(by_powers(arc / np.linalg.norm(arc, axis=1, keepdims=True), _diffusion._N_STEPS))
    np.testing.assert_allclose(costs, truth / truth.std(), atol=0.02)


def test_few_cells_and_sparse_rows():
    from scipy import sparse

    rows = np.random.default_rng(0).random((5, 4)).astype(np.float32)
    points, _ = points_of(rows, n_anchors=5)
    assert points.shape == (5, 5)
    again = diffusion_points(SparseRows(sparse.csr_matrix(rows)), K, np.random.default_rng(0), rank=None)[0]
    np.testing.assert_allclose(squared(again), squared(points), atol=1e-3)
