from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from scipy.spatial.distance import cdist

from saescape.transport._problem import Problem, dense_loss, make_side


def weighted_plan(rng, a, b):
    plan = rng.random((len(a), len(b)))
    for _ in range(500):
        plan *= (a / plan.sum(1))[:, None]
        plan *= b / plan.sum(0)
    return plan


@pytest.fixture
def case():
    """Two centred weighted point sets, their squared distances, and a plan."""
    rng = np.random.default_rng(0)
    a, b = rng.dirichlet(np.full(12, 5)), rng.dirichlet(np.full(9, 5))
    x, y = rng.normal(size=(12, 3)), rng.gamma(1.0, size=(9, 2))
    x, y = x - a @ x, y - b @ y
    return x, y, a, b, weighted_plan(rng, a, b)


def standardised(points, weight):
    cost = cdist(points, points, "sqeuclidean")
    cost = cost - weight @ cost @ weight
    return cost / np.sqrt(weight @ cost**2 @ weight)


def test_loss_is_pots_loss_of_standardised_costs(case):
    x, y, a, b, plan = case
    cost_x, cost_y = standardised(x, a), standardised(y, b)
    const, h_x, h_y = ot.gromov.init_matrix(cost_x, cost_y, a, b, "square_loss")
    expected = ot.gromov.gwloss(const, h_x, h_y, plan)
    problem = Problem(make_side([x], a), make_side([y], b))
    cross, loss = problem.evaluate(torch.as_tensor(plan, dtype=torch.float32))
    np.testing.assert_allclose(float(loss), expected, rtol=1e-4)
    np.testing.assert_allclose(dense_loss(cdist(x, x, "sqeuclidean"), cdist(y, y, "sqeuclidean"), plan), expected)
    np.testing.assert_allclose(cross.numpy(), x.T @ plan @ y, atol=1e-5)


def test_several_views_average(case):
    x, y, a, b, plan = case
    plan = torch.as_tensor(plan, dtype=torch.float32)
    losses = [Problem(make_side([x**k], a), make_side([y], b)) for k in (1,)]
    second_x, second_y = x[:, :1] - a @ x[:, :1], y[:, 1:] - b @ y[:, 1:]
    losses.append(Problem(make_side([second_x], a), make_side([second_y], b)))
    both = Problem(make_side([x, second_x], a), make_side([y, second_y], b))
    expected = np.mean([float(p.evaluate(plan)[1]) for p in losses])
    np.testing.assert_allclose(float(both.evaluate(plan)[1]), expected, rtol=1e-5)


def test_cost_is_the_gradient_of_the_loss(case):
    x, y, a, b, plan = case
    problem = Problem(make_side([x], a), make_side([y], b))
    cross, _ = problem.evaluate(torch.as_tensor(plan, dtype=torch.float32))
    cost = problem.cost(cross).numpy()
    # a move that keeps both marginals feels no row or column constants
    move = np.zeros_like(plan)
    move[np.ix_([0, 3], [1, 4])] = [[1, -1], [-1, 1]]
    cost_x, cost_y = standardised(x, a), standardised(y, b)
    step = 1e-4
    up, down = (dense_loss(cost_x, cost_y, plan + sign * step * move) for sign in (1, -1))
    np.testing.assert_allclose((cost * move).sum(), (up - down) / (2 * step), rtol=1e-3)


def test_loss_of_isometry_and_of_independence(case):
    x, _, a, _, _ = case
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    problem = Problem(make_side([x], a), make_side([7 * x @ rotation], a))
    _, loss = problem.evaluate(torch.diag(torch.as_tensor(a, dtype=torch.float32)))
    np.testing.assert_allclose(float(loss), 0, atol=1e-5)
    product = torch.as_tensor(np.outer(a, a), dtype=torch.float32)
    np.testing.assert_allclose(float(problem.evaluate(product)[1]), 2, atol=1e-5)
    np.testing.assert_allclose(float(problem.objective(product, torch.tensor(2.0), 0.5)), 2, atol=1e-5)
