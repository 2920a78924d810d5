from __future__ import annotations

from math import inf

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import xlogy

from saescape.transport import _plan
from saescape.transport._align import Settings, align
from saescape.transport._embedding import unit_cost
from saescape.transport._problem import Problem, dense_loss, make_side
from saescape.transport._relaxed import RelaxedProblem, make_problem
from saescape.transport._solver import solve


@pytest.fixture
def points():
    """Two point sets with a common latent and different frequencies."""
    rng = np.random.default_rng(3)
    latent = rng.gamma(1.0, size=(40, 3)) * [3, 2, 1]
    y = latent[10:] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return unit_cost(latent), unit_cost(np.concatenate([y, y[:5]]) + 0.1 * rng.normal(size=(35, 3)))


def relaxed(points, penalty):
    return make_problem(make_side([points[0]]), make_side([points[1]]), 1.0, (penalty, penalty))


def squared(points):
    return [cdist(p, p, "sqeuclidean") for p in points]


def dense_objective(costs, plan, epsilon, rho):
    """Loss of dense cost matrices, entropy and price of the marginals, written out."""
    n, m = plan.shape
    a, b = plan.sum(1), plan.sum(0)
    entropy = np.sum(xlogy(plan, plan * n * m))
    return dense_loss(*costs, plan) + epsilon * entropy + rho * (a @ np.log(a * n) + b @ np.log(b * m))


def test_which_problem_is_made(points):
    assert type(relaxed(points, inf)) is Problem
    assert isinstance(make_problem(*map(make_side, ([points[0]], [points[1]])), 1.0, (inf, 1.0)), RelaxedProblem)


def test_loss_and_gradient_are_those_of_dense_costs(points):
    rng = np.random.default_rng(0)
    plan = rng.dirichlet(np.full(40 * 35, 0.3)).reshape(40, 35)
    problem = relaxed(points, 1.0)
    moments, loss = problem.measure(torch.as_tensor(plan, dtype=torch.float32))
    costs = squared(points)
    np.testing.assert_allclose(float(loss), dense_loss(*costs, plan), rtol=1e-4)
    cost = problem.cost(moments).numpy()
    # moves of mass that change both marginals
    for i, j, k, m in rng.integers(35, size=(5, 4)):
        move = np.zeros_like(plan)
        move[i, j] += 1
        move[k, m] -= 1
        up, down = (dense_loss(*costs, plan + sign * 1e-5 * move) for sign in (1, -1))
        np.testing.assert_allclose((cost * move).sum(), (up - down) / 2e-5, rtol=2e-3, atol=1e-3)


def test_sums_over_blocks_are_those_of_the_whole(points):
    plan = torch.as_tensor(np.random.default_rng(0).dirichlet(np.ones(40 * 35)).reshape(40, 35), dtype=torch.float32)
    for problem in (relaxed(points, 1.0), relaxed(points, inf)):
        parts = [problem.block_sums(rows, plan[rows]) for rows in (slice(0, 15), slice(15, 40))]
        state, loss, joint = problem.from_sums([a + b for a, b in zip(*parts, strict=True)], plan.sum(0))
        whole, expected = problem.measure(plan)
        torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(problem.cost(state), problem.cost(whole), atol=1e-3, rtol=1e-4)
        assert float(joint) == 0


def test_huge_penalty_is_the_balanced_solution(points):
    start = torch.eye(3)[None] * 0.5
    balanced = solve(relaxed(points, inf), start, 0.1, epsilon_start=0.3, max_iter=100, tol=1e-6)
    for penalty in (1e6, 1e12):
        end = solve(relaxed(points, penalty), start, 0.1, epsilon_start=0.3, max_iter=100, tol=1e-6)
        assert end.converged
        np.testing.assert_allclose(end.loss, balanced.loss, rtol=2e-3)
        np.testing.assert_allclose(end.objective, balanced.objective, rtol=2e-3)
        np.testing.assert_allclose(end.plan.sum(2), 1 / 40, rtol=1e-3)
        assert float((end.plan - balanced.plan).abs().sum()) < 0.02


def test_solution_is_a_minimum_of_the_written_out_objective(points):
    epsilon, rho = 0.1, 0.5
    costs = squared(points)
    start = torch.eye(3)[None] * 0.5
    end = solve(relaxed(points, rho), start, epsilon, epsilon_start=0.3, max_iter=300, n_sinkhorn=200, tol=1e-7)
    plan = end.plan[0].double().numpy()
    reached = dense_objective(costs, plan, epsilon, rho)
    np.testing.assert_allclose(float(end.objective[0]), reached, rtol=1e-3)
    balanced = solve(relaxed(points, inf), start, epsilon, epsilon_start=0.3, max_iter=300, tol=1e-7)
    assert reached < dense_objective(costs, balanced.plan[0].double().numpy(), epsilon, rho) - 0.01
    # an independent optimiser of the same objective goes no lower from there
    x, y = (torch.as_tensor(c) for c in costs)
    logits = torch.as_tensor(np.log(plan.clip(1e-12))).requires_grad_()
    optimiser = torch.optim.LBFGS([logits], max_iter=40, line_search_fn="strong_wolfe")

    def objective():
        p = torch.softmax(logits.flatten(), 0).view(40, 35)
        a, b = p.sum(1), p.sum(0)
        cx, cy = x - a @ x @ a, y - b @ y @ b
        r = ((cx @ p) * (p @ cy)).sum() / ((a @ cx**2 @ a) * (b @ cy**2 @ b)).sqrt()
        price = (a * (a * 40).log()).sum() + (b * (b * 35).log()).sum()
        return 2 - 2 * r + epsilon * (p * (p * 1400).log()).sum() + rho * price

    def closure():
        optimiser.zero_grad()
        value = objective()
        value.backward()
        return value

    optimiser.step(closure)
    np.testing.assert_allclose(float(objective().detach()), reached, atol=2e-3)


def test_objective_falls(points):
    start = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.3
    ends = [solve(relaxed(points, 0.3), start, 0.1, max_iter=i, n_sinkhorn=200, tol=0) for i in range(1, 12, 2)]
    objective = np.stack([e.objective.numpy() for e in ends])
    assert (np.diff(objective, axis=0) < 5e-3).all()
    assert (objective[-1] < objective[0] - 0.05).all()


@pytest.mark.parametrize("epsilon", [1e-6, 0.1, 10])
@pytest.mark.parametrize("penalty", [1e-6, 1.0, 1e12])
def test_extreme_settings_stay_finite(points, epsilon, penalty):
    start = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.3
    end = solve(relaxed(points, penalty), start, epsilon, epsilon_start=0.2, max_iter=20)
    for values in (end.plan, end.cross, end.objective, end.loss, end.f, end.g):
        assert torch.isfinite(values).all()
    np.testing.assert_allclose(end.plan.sum((1, 2)), 1, rtol=1e-5)


def populations(sizes, rng):
    centres = np.array([[0.0, 0, 0], [5, 0, 0], [0, 8, 0], [0, 0, 11]])
    label = np.repeat(np.arange(4), sizes)
    return centres[label] + 0.5 * rng.normal(size=(len(label), 3)), label


@pytest.fixture(scope="module")
def unequal():
    """The same four populations on both sides, those that are rare on one frequent on the other."""
    rng = np.random.default_rng(0)
    x, label_x = populations([30, 30, 20, 20], rng)
    y, label_y = populations([20, 20, 30, 30], rng)
    return x, y, label_x, label_y


def settings(penalty, **kwargs):
    return Settings(("euclidean",), None, 0.1, 5, penalty=(penalty, penalty), **kwargs)


def accuracy(result, label_x):
    return np.mean(result.readout.projections[0].argmax(1) == label_x)


def test_populations_of_unequal_frequency_find_each_other(unequal):
    x, y, label_x, label_y = unequal
    one_hot = np.eye(4, dtype=np.float32)[label_y]
    balanced, free = (align(x, y, settings(p), [one_hot], np.random.default_rng(0)) for p in (inf, 0.3))
    assert accuracy(balanced, label_x) < 0.75
    assert accuracy(free, label_x) > 0.95
    assert free.loss < balanced.loss
    # what is more frequent here than there has less mass
    mass = free.readout.row_mass * len(x)
    np.testing.assert_allclose(mass.mean(), 1, rtol=1e-5)
    assert mass[label_x < 2].mean() < 0.9 < 1.1 < mass[label_x >= 2].mean()
    rows = np.asarray(free.readout.coupling.sum(1)).ravel()
    np.testing.assert_allclose(rows, free.readout.row_mass, rtol=1e-4)
    assert free.readout.marginal_error < 0.01


def test_landmarks_and_passes_over_blocks_agree_with_all_cells(unequal, monkeypatch):
    x, y, *_ = unequal
    full = align(x, y, settings(0.5), [y], np.random.default_rng(0))
    few = align(x, y, settings(0.5, n_landmarks=60), [y], np.random.default_rng(0))
    monkeypatch.setattr(_plan, "MAX_DENSE", 0)
    passes = align(x, y, settings(0.5), [y], np.random.default_rng(0))
    for other in (few, passes):
        np.testing.assert_allclose(other.loss, full.loss, atol=0.01)
        np.testing.assert_allclose(other.readout.row_mass * 100, full.readout.row_mass * 100, atol=0.1)
        assert other.readout.marginal_error < 0.02


def test_one_side_may_stay_fixed(unequal):
    x, y, *_ = unequal
    result = align(x, y, Settings(("euclidean",), None, 0.1, 3, penalty=(inf, 0.3)), [y], np.random.default_rng(0))
    np.testing.assert_allclose(result.readout.row_mass * 100, 1, rtol=1e-4)
    assert np.asarray(result.readout.coupling.sum(0)).ravel().std() * 100 > 0.1
