from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from saescape.transport._embedding import unit_cost
from saescape.transport._pot import dense_bytes, pot_entropic
from saescape.transport._problem import Problem, make_side
from saescape.transport._solver import solve
from saescape.transport._starts import starting_points, symmetry_moves


@pytest.fixture
def case():
    rng = np.random.default_rng(3)
    latent = rng.gamma(1.0, size=(70, 3)) * [3, 2, 1]
    x = unit_cost(latent + 0.1 * rng.normal(size=latent.shape))
    y = unit_cost((latent @ np.linalg.qr(rng.normal(size=(3, 3)))[0])[:60] + 0.1 * rng.normal(size=(60, 3)))
    return x, y, Problem(make_side([x]), make_side([y]))


def test_marginals_and_convergence(case):
    _, _, problem = case
    end = solve(problem, torch.zeros(1, 3, 3), 0.1, epsilon_start=0.3, max_iter=200, n_sinkhorn=30)
    assert end.converged
    np.testing.assert_allclose(end.plan[0].sum(1).numpy(), 1 / 70, rtol=1e-3)
    np.testing.assert_allclose(end.plan[0].sum(0).numpy(), 1 / 60, rtol=1e-2)


def test_objective_never_increases(case):
    _, _, problem = case
    start = starting_points(problem, 5, np.random.default_rng(0))[0][4:]
    ends = [solve(problem, start, 0.2, max_iter=i, n_sinkhorn=200, tol=0) for i in range(1, 9)]
    objective = np.array([float(e.objective[0]) for e in ends])
    assert (np.diff(objective) < 1e-4).all()
    assert objective[-1] < objective[0] - 1e-3


def test_not_worse_than_pot_from_the_same_start(case):
    x, y, problem = case
    cost_x, cost_y = cdist(x, x, "sqeuclidean"), cdist(y, y, "sqeuclidean")
    start, _ = starting_points(problem, 5, np.random.default_rng(0))
    for k in (0, 3):
        first = solve(problem, start[k : k + 1], 0.2, max_iter=1, n_sinkhorn=500)
        ours = solve(problem, first.cross, 0.2, max_iter=300, n_sinkhorn=30, tol=1e-7)
        theirs = pot_entropic(cost_x, cost_y, 0.2, start=first.plan[0].double().numpy())
        assert float(ours.objective[0]) <= theirs.objective * 1.001
        np.testing.assert_allclose(float(ours.loss[0]), theirs.loss, rtol=0.01)


def test_starts_are_in_order_and_reproducible(case):
    _, _, problem = case
    starts, kinds = starting_points(problem, 7, np.random.default_rng(0))
    again, _ = starting_points(problem, 7, np.random.default_rng(0))
    assert kinds == ["product", "distances", "distances", "axes", "rotation", "axes", "rotation"]
    assert torch.equal(starts, again)
    assert starting_points(problem, 1, np.random.default_rng(0))[1] == ["product"]


def test_symmetry_moves_keep_the_size(case):
    _, _, problem = case
    cross = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    moves = symmetry_moves(problem, cross)
    assert moves.shape == (3 + 2 * 3, 3, 3)
    # negating a singular component keeps all singular values
    for move in moves[:3]:
        torch.testing.assert_close(torch.linalg.svdvals(move), torch.linalg.svdvals(cross))
    assert len(symmetry_moves(problem, torch.zeros(3, 3))) == 0


def test_pot_reports_what_it_reached(case):
    x, y, _ = case
    costs = [cdist(z, z, "sqeuclidean") for z in (x, y)]
    result = pot_entropic(*costs, 0.3)
    assert result.converged
    assert result.marginal_error < 1e-4
    assert not pot_entropic(*costs, 0.3, max_iter=2).converged
    assert dense_bytes(1000, 1000) > 8 * 10 * 1e6
