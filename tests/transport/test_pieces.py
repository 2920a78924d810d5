from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from sklearn.datasets import make_blobs

from saescape.transport import _pieces
from saescape.transport._neighbors import nearest
from saescape.transport._nulls import gaussian_cloud
from saescape.transport._pieces import rearranged_pieces


def clusters():
    x, label = make_blobs(240, n_features=6, centers=6, cluster_std=0.3, random_state=0)
    return x - x.mean(0), label


def nearest_distance(x):
    return np.median(nearest(x.astype(np.float32), x.astype(np.float32), 1, exclude_self=True)[1])


def test_pieces_keep_neighbours():
    x, label = clusters()
    (image,), cell = rearranged_pieces([x], np.random.default_rng(0))
    assert nearest_distance(image) < 0.5 * nearest_distance(gaussian_cloud(x, np.random.default_rng(0)))
    # rows that were cells of one cluster still are one
    between = cdist(image, image)
    between[np.diag_indices(len(image))] = np.inf
    assert np.mean(label[cell] == label[cell[between.argmin(1)]]) > 0.97
    # cells that were drawn twice are no copies
    assert len(np.unique(cell)) < 240
    assert len(np.unique(image.round(9), axis=0)) == 240


def test_pieces_are_rearranged_and_resized():
    x, label = clusters()
    centres = np.stack([x[label == i].mean(0) for i in range(6)])
    correlations, sizes = [], []
    for seed in range(20):
        (image,), cell = rearranged_pieces([x], np.random.default_rng(seed))
        present = np.unique(label[cell])
        found = np.stack([image[label[cell] == i].mean(0) for i in present])
        correlations.append(np.corrcoef(pdist(found), pdist(centres[present]))[0, 1])
        sizes.append(np.bincount(label[cell], minlength=6))
    # some of the arrangement may remain: two clusters can be in one piece, and neighbours stay neighbours
    assert np.mean(correlations) < 0.7
    assert np.std(sizes, axis=0).min() > 8


def test_turned_pieces_are_rigid_and_meet_at_their_joints():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)) * [5, 4, 3, 1, 0.5]
    piece = np.repeat(np.arange(4), 15)
    parent = np.array([-9999, 0, 1, 1])
    singular_values = np.linalg.svd(x, compute_uv=False)
    order = np.array([0, 1, 2, 3])
    moved = _pieces._turned(x, singular_values, piece, order, parent, np.ones(4), rng)
    for i in range(4):
        np.testing.assert_allclose(pdist(moved[piece == i]), pdist(x[piece == i]), atol=1e-9)
    np.testing.assert_allclose(moved[piece == 0], x[piece == 0])
    centre = np.stack([x[piece == i].mean(0) for i in range(4)])
    new = np.stack([moved[piece == i].mean(0) for i in range(4)])
    assert np.abs(pdist(new) - pdist(centre)).max() > 0.1
    # half the way is of the child, half of the parent: centres are never further apart than they were
    for child in (1, 2, 3):
        old_way, new_way = (np.linalg.norm(c[child] - c[parent[child]]) for c in (centre, new))
        assert new_way <= old_way + 1e-9
    # with twice the length the child's own half is doubled
    longer = _pieces._turned(x, singular_values, piece, order, parent, np.array([1, 1, 2, 1]), np.random.default_rng(1))
    same = _pieces._turned(x, singular_values, piece, order, parent, np.ones(4), np.random.default_rng(1))
    np.testing.assert_allclose(longer[piece != 2], same[piece != 2])
    shift = longer[piece == 2] - same[piece == 2]
    np.testing.assert_allclose(np.linalg.norm(shift, axis=1), np.linalg.norm(centre[2] - centre[1]) / 2)


def test_views_are_rearranged_alike():
    x, _ = clusters()
    (first, second), _ = rearranged_pieces([x, x], np.random.default_rng(3))
    np.testing.assert_array_equal(first, second)
    again = rearranged_pieces([x], np.random.default_rng(3))[0][0]
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, rearranged_pieces([x], np.random.default_rng(4))[0][0])


@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_degenerate_clouds(seed):
    x = np.random.default_rng(0).normal(size=(5, 4))
    for cloud in (
        x,
        x[:4, :2],
        np.repeat(x[:3], 20, axis=0),
        np.repeat(x[:2], 5, axis=0),
        np.outer(np.arange(30), [1, 2]),
    ):
        (image,), cell = rearranged_pieces([cloud], np.random.default_rng(seed))
        assert len(image) == len(cell) == len(cloud)
        assert np.isfinite(image).all()
        assert image.std() > 0
