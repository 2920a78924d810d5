from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from scipy.spatial.distance import cdist

from saescape.transport._embedding import unit_cost
from saescape.transport._joint import joint_cost
from saescape.transport._pot import pot_entropic
from saescape.transport._problem import Problem, make_side
from saescape.transport._solver import solve
from saescape.transport._starts import starting_points


def one_hot(codes, n_labels):
    return (np.asarray(codes)[:, None] == np.arange(n_labels)).astype(np.float32)


def test_cost_of_labels_is_standardised_inequality():
    x, y = np.array([0, 0, 1, 2, -1, 3]), np.array([1, 0, 0, 2, -1])
    cost = joint_cost([(one_hot(x, 4), one_hot(y, 4))])
    dense = cost.x @ cost.y.T
    # label 3 is on one side only: these cells are as free as those without a label
    known = np.ix_(np.isin(x, [0, 1, 2]), y >= 0)
    different = (x[:, None] != y[None])[known].astype(float)
    expected = np.zeros((6, 5))
    expected[known] = (different - different.mean()) / different.std()
    np.testing.assert_allclose(dense, expected, atol=1e-6)


def test_cost_of_numbers_is_standardised_squared_difference():
    rng = np.random.default_rng(0)
    x, y = 100 + 5 * rng.normal(size=9), 103 + 5 * rng.normal(size=7)
    x[2], y[5] = np.nan, np.nan
    cost = joint_cost([(x, y)])
    dense = cost.x @ cost.y.T
    known = np.ix_(np.isfinite(x), np.isfinite(y))
    squares = ((x[:, None] - y[None]) ** 2)[known]
    expected = np.zeros((9, 7))
    expected[known] = (squares - squares.mean()) / squares.std()
    np.testing.assert_allclose(dense, expected, atol=1e-4)


def test_several_columns_are_averaged_and_cells_taken():
    rng = np.random.default_rng(0)
    first = (rng.normal(size=6), rng.normal(size=5))
    second = (one_hot(rng.integers(2, size=6), 2), one_hot([0, 1, 0, 1, 1], 2))
    dense = [c.x @ c.y.T for c in (joint_cost([first]), joint_cost([second]))]
    both = joint_cost([first, second])
    np.testing.assert_allclose(both.x @ both.y.T, np.mean(dense, 0), atol=1e-6)
    part = both.take(np.array([4, 1]), np.array([0]))
    np.testing.assert_allclose(part.x @ part.y.T, np.mean(dense, 0)[[4, 1]][:, :1], atol=1e-6)


@pytest.fixture
def case():
    """Points of two sides, the cost of their labels, and the problem."""
    rng = np.random.default_rng(1)
    latent = rng.gamma(1.0, size=(60, 3)) * [3, 2, 1]
    x = unit_cost(latent)
    y = unit_cost((latent @ np.linalg.qr(rng.normal(size=(3, 3)))[0])[:50])
    label = (latent[:, 0] > 3).astype(int) + (latent[:, 1] > 2)
    cost = joint_cost([(one_hot(label, 3), one_hot(np.where(rng.random(50) < 0.2, 0, label[:50]), 3))])
    problem = Problem(make_side([x], joint=cost.x), make_side([y], joint=cost.y), 0.4)
    return [cdist(p, p, "sqeuclidean") for p in (x, y)], cost.x @ cost.y.T, problem


def test_objective_is_pots_fused_loss(case):
    (cost_x, cost_y), labels, problem = case
    cost_x, cost_y = ((c - c.mean()) / c.std() for c in (cost_x, cost_y))
    a, b = np.full(60, 1 / 60), np.full(50, 1 / 50)
    plan = ot.sinkhorn(a, b, np.random.default_rng(0).random((60, 50)), 0.05)
    const, h_x, h_y = ot.gromov.init_matrix(cost_x, cost_y, a, b, "square_loss")
    expected = 0.6 * np.sum(labels * plan) + 0.4 * ot.gromov.gwloss(const, h_x, h_y, plan)
    tensor = torch.as_tensor(plan, dtype=torch.float32)[None]
    cross, loss = problem.evaluate(tensor)
    np.testing.assert_allclose(float(problem.objective(tensor, loss, 0.0)), expected, rtol=1e-4)
    gradient = 0.6 * labels + 0.4 * ot.gromov.gwggrad(const, h_x, h_y, plan)
    difference = problem.cost(cross)[0].numpy() - gradient
    # equal up to row and column constants
    difference = difference - difference.mean(0) - difference.mean(1, keepdims=True) + difference.mean()
    assert np.abs(difference).max() < 1e-3 * gradient.std()


def test_not_worse_than_pot_from_the_same_start(case):
    costs, labels, problem = case
    starts, kinds = starting_points(problem, 6, np.random.default_rng(0))
    assert kinds == ["product", "labels", "distances", "distances", "axes", "rotation"]
    for k in (1, 4):
        first = solve(problem, starts[k : k + 1], 0.2, max_iter=1, n_sinkhorn=500)
        ours = solve(problem, first.cross, 0.2, max_iter=300, n_sinkhorn=30, tol=1e-7)
        theirs = pot_entropic(*costs, 0.2, start=first.plan[0].double().numpy(), labels=labels, alpha=0.4)
        # the objective may be negative: differences count
        assert float(ours.objective[0]) <= theirs.objective + 0.01 * abs(theirs.objective)
        np.testing.assert_allclose(float(ours.loss[0]), theirs.loss, rtol=0.02)


def test_without_labels_alpha_is_one(case):
    _, _, problem = case
    x = make_side([problem.x.points.numpy()])
    assert Problem(x, x, 0.3).alpha == 1
    assert float(Problem(x, x).joint_cost(torch.full((1, 60, 60), 1 / 3600))) == 0
