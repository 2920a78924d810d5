from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from saescape.sae._fista import duality_gap, fista

N, D, M = 60, 12, 30


def unit_rows(m, d, rng):
    rows = rng.normal(size=(m, d))
    return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(size=(N, D))), unit_rows(M, D, rng)


def lipschitz(atoms):
    return float(torch.linalg.matrix_norm(atoms, 2)) ** 2


def solve(x, atoms, penalty, tol=1e-10, max_iter=20_000, **kwargs):
    solution = fista(x, atoms, penalty, lipschitz=lipschitz(atoms), tol=tol, max_iter=max_iter, **kwargs)
    assert bool((solution.gap <= tol).all())
    return solution.codes


def objective(x, codes, atoms, penalty):
    return 0.5 * (x - codes @ atoms).square().sum(1) + penalty * codes.sum(1)


@pytest.mark.parametrize("penalty", [0.02, 0.3])
def test_minimum_is_that_of_scikit_learn(problem, penalty):
    x, atoms = problem
    codes = solve(x, atoms, penalty)
    lasso = Lasso(alpha=penalty / D, positive=True, fit_intercept=False, tol=1e-12, max_iter=100_000)
    expected = np.array([lasso.fit(atoms.numpy().T, row).coef_ for row in x.numpy()])
    np.testing.assert_allclose(codes, expected, atol=1e-4)


def test_conditions_of_optimality(problem):
    x, atoms = problem
    codes = solve(x, atoms, 0.2)
    gradient = (x - codes @ atoms) @ atoms.t() - 0.2
    assert bool((codes >= 0).all())
    assert float(gradient.max()) < 1e-4
    assert float(gradient[codes > 1e-3].abs().max()) < 1e-4


def test_soft_threshold_when_atoms_are_orthonormal():
    rng = np.random.default_rng(1)
    atoms = torch.from_numpy(np.linalg.qr(rng.normal(size=(D, 7)))[0].T.copy())
    x = torch.from_numpy(rng.normal(size=(N, D)))
    expected = (x @ atoms.t() - 0.4).clamp_min(0)
    torch.testing.assert_close(solve(x, atoms, 0.4), expected, atol=1e-6, rtol=0)


def test_same_as_plain_proximal_gradient_and_faster(problem):
    x, atoms = problem
    step, codes = 1 / lipschitz(atoms), torch.zeros(N, M, dtype=x.dtype)
    for _ in range(5_000):
        codes = (codes - step * ((codes @ atoms - x) @ atoms.t() + 0.1)).clamp_min(0)
    torch.testing.assert_close(solve(x, atoms, 0.1), codes, atol=1e-3, rtol=0)
    few = fista(x, atoms, 0.1, lipschitz=1 / step, tol=0, max_iter=100).codes
    plain = torch.zeros(N, M, dtype=x.dtype)
    for _ in range(100):
        plain = (plain - step * ((plain @ atoms - x) @ atoms.t() + 0.1)).clamp_min(0)
    best = objective(x, codes, atoms, 0.1)
    excess = [float((objective(x, c, atoms, 0.1) - best).sum()) for c in (few, plain)]
    assert excess[0] < 0.1 * excess[1]


def test_duality_gap_bounds_the_excess(problem):
    x, atoms = problem
    best = objective(x, solve(x, atoms, 0.2), atoms, 0.2)
    rng = np.random.default_rng(2)
    for scale in (0.0, 0.01, 0.3, 2.0):
        codes = torch.from_numpy(scale * rng.exponential(size=(N, M)))
        excess = objective(x, codes, atoms, 0.2) - best
        assert bool((duality_gap(x, codes, atoms, 0.2) >= excess - 1e-9).all())
    # overshooting codes leave residuals that point away from the row
    codes = solve(x, atoms, 0.02)
    best = objective(x, codes, atoms, 0.02)
    for factor in (0.9, 1.0, 1.02, 1.1, 1.5):
        gap = duality_gap(x, factor * codes, atoms, 0.02)
        assert bool((gap >= objective(x, factor * codes, atoms, 0.02) - best - 1e-9).all())
        assert factor != 1 or float(gap.max()) < 1e-8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_code_does_not_depend_on_the_other_rows(problem, dtype):
    x, atoms = (a.to(dtype) for a in problem)
    bound = lipschitz(atoms)
    together = fista(x, atoms, 0.1, lipschitz=bound).codes
    order = torch.from_numpy(np.random.default_rng(3).permutation(N))
    shuffled = fista(x[order], atoms, 0.1, lipschitz=bound).codes
    alone = torch.cat([fista(row[None], atoms, 0.1, lipschitz=bound).codes for row in x[:20]])
    # rounding may decide whether a row stops at one look at the gap or at the next
    tolerance = 1e-3 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(shuffled, together[order], atol=tolerance, rtol=0)
    torch.testing.assert_close(alone, together[:20], atol=tolerance, rtol=0)


def test_gram_and_warm_start_change_nothing_but_the_way(problem):
    x, atoms = problem
    codes = solve(x, atoms, 0.1)
    torch.testing.assert_close(solve(x, atoms, 0.1, gram=atoms @ atoms.t()), codes, atol=1e-8, rtol=0)
    start = torch.from_numpy(np.random.default_rng(4).exponential(size=(N, M)))
    torch.testing.assert_close(solve(x, atoms, 0.1, start=start), codes, atol=1e-4, rtol=0)
    # from the solution there is nothing to do, from elsewhere one round does not suffice
    done = fista(x, atoms, 0.1, lipschitz=lipschitz(atoms), start=codes, tol=1e-9, max_iter=0)
    assert bool((done.gap <= 1e-9).all())
    torch.testing.assert_close(done.codes, codes)
    assert bool((fista(x, atoms, 0.1, lipschitz=lipschitz(atoms), tol=1e-9, max_iter=1).gap > 1e-9).any())


def test_zero_rows_zero_atoms_duplicates_and_one_dimension(problem):
    x, atoms = problem
    x = torch.cat([x, torch.zeros(2, D, dtype=x.dtype)])
    atoms = torch.cat([atoms, atoms[:1], torch.zeros(1, D, dtype=x.dtype)])
    codes = solve(x, atoms, 0.1)
    assert bool((codes[-2:] == 0).all())
    assert bool((codes[:, -1] == 0).all())
    single = solve(x, atoms[:M], 0.1)
    torch.testing.assert_close(codes[:, 0] + codes[:, M], single[:, 0], atol=1e-4, rtol=0)
    line = solve(torch.tensor([[2.0], [-1.0], [0.05]]).double(), torch.tensor([[1.0]]).double(), 0.1)
    torch.testing.assert_close(line, torch.tensor([[1.9], [0.0], [0.0]]).double(), atol=1e-6, rtol=0)
