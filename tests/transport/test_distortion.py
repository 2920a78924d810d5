from __future__ import annotations

import numpy as np
import pytest

from saescape.transport._distortion import dense_distortion, distortion, distortion_target
from saescape.transport._problem import dense_loss, make_side


def squared_distances(points):
    return ((points[:, None] - points[None]) ** 2).sum(-1)


@pytest.fixture
def pair():
    """Two views of each side, not centred, and a plan with uneven marginals."""
    rng = np.random.default_rng(0)
    views_x = [rng.normal(1.0, 1.0, (12, 3)), rng.normal(size=(12, 2))]
    views_y = [rng.normal(size=(9, 4)), rng.normal(-2.0, 1.0, (9, 2))]
    plan = rng.gamma(1.0, size=(12, 9))
    return views_x, views_y, plan / plan.sum()


def factored(views_x, views_y, plan):
    x, y = make_side(views_x, plan.sum(1)), make_side(views_y, plan.sum(0))
    moved = plan / plan.sum(1, keepdims=True) @ distortion_target(y, plan.sum(0))
    return distortion(x, y, plan.sum(1), plan.sum(0), moved)


def test_is_the_sum_over_all_pairs_of_pairs(pair):
    views_x, views_y, plan = pair
    x, y = squared_distances(views_x[0]), squared_distances(views_y[0])
    a, b = plan.sum(1), plan.sum(0)
    x, y = ((c - w @ c @ w) / np.sqrt(w @ (c - w @ c @ w) ** 2 @ w) for c, w in ((x, a), (y, b)))
    # written out as in the definition
    error = (x[:, :, None, None] - y[None, None]) ** 2
    expected = np.einsum("ij,kl,ikjl->i", plan / a[:, None], plan, error)
    np.testing.assert_allclose(factored(views_x[:1], views_y[:1], plan), expected, rtol=1e-4)
    np.testing.assert_allclose(dense_distortion(*map(squared_distances, (views_x[0], views_y[0])), plan), expected)


def test_its_mean_is_the_loss(pair):
    views_x, views_y, plan = pair
    losses = [dense_loss(squared_distances(v), squared_distances(w), plan) for v, w in zip(*pair[:2], strict=True)]
    assert plan.sum(1) @ factored(views_x, views_y, plan) == pytest.approx(np.mean(losses), rel=1e-4)


def test_is_zero_for_an_isometry_and_falls_on_the_cell_that_is_moved():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    y = 2.5 * x @ rotation + 1
    plan = np.eye(20) / 20
    np.testing.assert_allclose(factored([x], [y], plan), 0, atol=1e-5)
    np.testing.assert_allclose(dense_distortion(squared_distances(x), squared_distances(y), plan), 0, atol=1e-5)
    y[7] += 6
    assert factored([x], [y], plan).argmax() == 7
