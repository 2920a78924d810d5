from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from saescape.sae._fista import duality_gap
from saescape.sae._omp import nonnegative_omp

N, D, M = 60, 12, 30


def unit_rows(m, d, rng):
    rows = rng.normal(size=(m, d))
    return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(size=(N, D))), unit_rows(M, D, rng)


def dense(values, cols, m):
    return torch.zeros(len(values), m, dtype=values.dtype).scatter_add_(1, cols, values)


def reference(x, atoms, k, min_correlation=0.0):
    """One row, with scipy's non-negative least squares for the refit."""
    support, code = [], np.zeros(len(atoms))
    for _ in range(3 * k):
        correlation = atoms @ (x - code @ atoms)
        correlation[support] = -np.inf
        best = int(correlation.argmax())
        if correlation[best] <= min_correlation + 1e-9 or len(support) == k:
            break
        support.append(best)
        code[:] = 0
        code[support] = nnls(atoms[support].T, x)[0]
        support = [j for j in support if code[j] > 0]
    return code


@pytest.mark.parametrize("k", [1, 3, 9])
@pytest.mark.parametrize("min_correlation", [0.0, 0.5])
def test_each_row_as_by_itself_with_scipy(problem, k, min_correlation):
    x, atoms = problem
    codes = dense(*nonnegative_omp(x, atoms, k, min_correlation=min_correlation), M)
    expected = np.array([reference(row, atoms.numpy(), k, min_correlation) for row in x.numpy()])
    np.testing.assert_allclose(codes, expected, atol=1e-10)
    assert int((codes > 0).sum(1).max()) <= k


def test_without_a_limit_it_is_non_negative_least_squares(problem):
    x, atoms = problem
    codes = dense(*nonnegative_omp(x, atoms, D), M)
    expected = [nnls(atoms.numpy().T, row)[1] for row in x.numpy()]
    np.testing.assert_allclose((x - codes @ atoms).norm(dim=1), expected, atol=1e-8)
    gradient = (x - codes @ atoms) @ atoms.t()
    assert bool((codes >= 0).all())
    assert float(gradient.max()) < 1e-8
    assert float(gradient[codes > 0].abs().max()) < 1e-8


def test_with_shrinkage_it_is_the_exact_lasso(problem):
    x, atoms = problem
    codes = dense(*nonnegative_omp(x, atoms, D, min_correlation=0.2, shrinkage=0.2), M)
    assert float(duality_gap(x, codes, atoms, 0.2).max()) < 1e-10


def test_largest_correlations_when_atoms_are_orthonormal():
    rng = np.random.default_rng(1)
    atoms = torch.from_numpy(np.linalg.qr(rng.normal(size=(D, D)))[0].T.copy())
    x = torch.from_numpy(rng.normal(size=(N, D)))
    products = (x @ atoms.t()).clamp_min(0)
    smallest = products.sort(1, descending=True).values[:, 2:3]
    expected = torch.where(products >= smallest, products, 0.0)
    torch.testing.assert_close(dense(*nonnegative_omp(x, atoms, 3), D), expected)


def test_recovers_what_brute_force_finds():
    rng = np.random.default_rng(5)
    atoms = unit_rows(8, 6, rng)
    z = np.zeros((20, 8))
    np.put_along_axis(z, rng.random(z.shape).argsort(1)[:, :2], 0.5 + rng.random((20, 2)), 1)
    x = torch.from_numpy(z) @ atoms
    codes = dense(*nonnegative_omp(x, atoms, 6), 8).numpy()
    for row, code in zip(x.numpy(), codes, strict=True):
        fits = [nnls(atoms[list(pair)].numpy().T, row)[1] for pair in combinations(range(8), 2)]
        assert np.linalg.norm(row - code @ atoms.numpy()) <= min(fits) + 1e-9


def test_a_threshold_pays_for_each_atom(problem):
    x, atoms = problem
    error = 0.5 * x.square().sum(1)
    for k in range(1, 8):
        values, cols = nonnegative_omp(x, atoms, k, min_correlation=0.3)
        codes = dense(values, cols, M)
        new = 0.5 * (x - codes @ atoms).square().sum(1)
        grown = (values > 0).sum(1) == k
        # rows that lost an atom on the way to `k` only have to improve
        assert bool((error - new)[grown].min() >= 0.5 * 0.3**2 - 1e-9) or k > 3
        assert bool((new <= error + 1e-9).all())
        error = new


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_code_does_not_depend_on_the_other_rows(problem, dtype):
    x, atoms = (a.to(dtype) for a in problem)
    together = dense(*nonnegative_omp(x, atoms, 10, min_correlation=0.1), M)
    order = torch.from_numpy(np.random.default_rng(3).permutation(N))
    shuffled = dense(*nonnegative_omp(x[order], atoms, 10, min_correlation=0.1), M)
    alone = torch.cat([dense(*nonnegative_omp(row[None], atoms, 10, min_correlation=0.1), M) for row in x])
    torch.testing.assert_close(shuffled, together[order], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_duplicates_zero_rows_and_zero_atoms(problem, dtype):
    x, atoms = (a.to(dtype) for a in problem)
    x = torch.cat([x, torch.zeros(2, D, dtype=dtype), -atoms[:1].repeat(2, 1)])
    single = dense(*nonnegative_omp(x, atoms, D), M)
    doubled = torch.cat([atoms, atoms, torch.zeros(1, D, dtype=dtype)])
    codes = dense(*nonnegative_omp(x, doubled, D), 2 * M + 1)
    tolerance = 1e-3 if dtype == torch.float32 else 1e-8
    torch.testing.assert_close(codes[:, :M] + codes[:, M : 2 * M], single, atol=tolerance, rtol=0)
    assert bool((codes[:, -1] == 0).all())
    assert bool((codes[N : N + 2] == 0).all())


def test_few_atoms_and_one_dimension():
    x = torch.tensor([[2.0], [-1.0], [0.0]])
    values, cols = nonnegative_omp(x, torch.tensor([[1.0]]), 5)
    assert values.shape == (3, 1)
    torch.testing.assert_close(dense(values, cols, 1), x.clamp_min(0))
    values, cols = nonnegative_omp(x, torch.tensor([[1.0], [-1.0]]), 2)
    torch.testing.assert_close(dense(values, cols, 2), torch.cat([x.clamp_min(0), (-x).clamp_min(0)], 1))


@pytest.mark.parametrize(("n", "d", "k", "f1"), [(100, 47, 10, 0.98), (16, 8, 3, 0.74), (64, 32, 3, 1.0)])
def test_support_with_the_true_dictionary_is_at_least_that_of_unconstrained_pursuit(n, d, k, f1):
    rng = np.random.default_rng(0)
    atoms = unit_rows(n, d, rng).float()
    z = np.zeros((1_000, n))
    np.put_along_axis(z, rng.random(z.shape).argsort(1)[:, :k], rng.random((len(z), k)), 1)
    found = dense(*nonnegative_omp(torch.from_numpy(z).float() @ atoms, atoms, k), n).numpy() > 1e-4
    assert 2 * (found & (z > 0)).sum() / (found.sum() + (z > 0).sum()) > f1 - 0.01
