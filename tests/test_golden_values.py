"""Numbers that others have measured, or theory gives, for known truth: recovery, chance levels and dimensions.

Sparse coding: non-negative codes with `k` of `n` sources active, magnitudes uniform in (0, 1), mixed into `m`
dimensions by a Gaussian dictionary with unit rows (the setting of arXiv 2603.28744). Trained: half-normal magnitudes.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp

import saescape as sae
from saescape.sae._fista import fista
from saescape.sae._omp import nonnegative_omp


def unit_rows(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def planted(n, m, k, n_cells, rng, *, half_normal=False):
    dictionary = unit_rows(rng.normal(size=(n, m)))
    z = np.zeros((n_cells, n))
    magnitudes = np.abs(rng.normal(size=(n_cells, k))) if half_normal else rng.random((n_cells, k))
    np.put_along_axis(z, rng.random(z.shape).argsort(1)[:, :k], magnitudes, 1)
    return z, dictionary, z @ dictionary


def coded(x, dictionary, penalty, n_iterations):
    x, atoms = torch.from_numpy(x).float(), torch.from_numpy(dictionary).float()
    bound = float(torch.linalg.matrix_norm(atoms, 2)) ** 2
    return fista(x, atoms, penalty, lipschitz=bound, tol=0, max_iter=n_iterations).codes.numpy()


def pursued(x, dictionary, k):
    values, cols = nonnegative_omp(torch.from_numpy(x), torch.from_numpy(dictionary), k)
    codes = np.zeros((len(x), len(dictionary)))
    np.add.at(codes, (np.arange(len(x))[:, None], cols.numpy()), values.numpy())
    return codes


def support(codes, z):
    """Precision, recall, F1 and L0."""
    found, true = codes > 1e-4, z > 0
    hits = (found & true).sum()
    return hits / found.sum(), hits / true.sum(), 2 * hits / (found.sum() + true.sum()), found.sum(1).mean()


def over_dictionaries(measure, n, m, k, *, n_dictionaries, n_cells=1_000):
    """Mean over dictionaries: a single small one is far from typical."""
    return np.mean([measure(*planted(n, m, k, n_cells, np.random.default_rng(i))) for i in range(n_dictionaries)], 0)


@pytest.mark.parametrize(
    ("n", "m", "k", "n_dictionaries", "mcc", "precision", "recall", "l0", "fvu"),
    [
        (100, 47, 10, 2, 0.986, 0.84, 0.87, 10.4, 0.035),
        (50, 33, 10, 3, 0.973, 0.80, 0.85, 10.6, 0.040),
        (16, 8, 3, 16, 0.926, 0.74, 0.81, 3.3, 0.037),
        (64, 32, 3, 2, 0.994, 0.98, 0.89, 2.7, 0.031),
        (32, 16, 3, 4, 0.988, 0.89, 0.88, 3.0, 0.034),
    ],
)
def test_fista_with_the_true_dictionary(n, m, k, n_dictionaries, mcc, precision, recall, l0, fvu):
    def measure(z, dictionary, x):
        codes = coded(x, dictionary, 0.1, 100)
        found_precision, found_recall, _, found_l0 = support(codes, z)
        return (
            sae.metrics.mcc(codes, z),
            found_precision,
            found_recall,
            found_l0,
            sae.metrics.fvu(x, codes @ dictionary),
        )

    found = over_dictionaries(measure, n, m, k, n_dictionaries=n_dictionaries)
    np.testing.assert_allclose(found[:3], [mcc, precision, recall], atol=0.025)
    assert found[0] == pytest.approx(mcc, abs=0.015)
    assert found[3] == pytest.approx(l0, abs=0.25)
    assert found[4] == pytest.approx(fvu, abs=0.003)


def test_fista_in_a_large_superposition():
    """A thousand sources in 93 dimensions, with MCC, precision, recall and error of the published row."""
    z, dictionary, x = planted(1_000, 93, 10, 1_200, np.random.default_rng(0))
    codes = coded(x, dictionary, 0.1, 100)
    assert sae.metrics.mcc(codes, z) == pytest.approx(0.993, abs=0.005)
    np.testing.assert_allclose(support(codes, z)[:2], 0.89, atol=0.02)
    assert sae.metrics.fvu(x, codes @ dictionary) == pytest.approx(0.030, abs=0.003)


@pytest.mark.parametrize(
    ("n", "m", "k", "mcc"), [(64, 32, 3, 1.0), (32, 16, 3, 1.0), (50, 33, 10, 1.0), (16, 8, 3, 0.98)]
)
def test_fista_with_a_small_penalty(n, m, k, mcc):
    measure = lambda z, dictionary, x: sae.metrics.mcc(coded(x, dictionary, 0.001, 1_000), z)  # noqa: E731
    found = over_dictionaries(measure, n, m, k, n_dictionaries=8 if n == 16 else 1, n_cells=400)
    assert found == pytest.approx(mcc, abs=0.01)


@pytest.mark.parametrize(
    ("n", "m", "k", "n_dictionaries", "mcc", "f1"),
    [
        (100, 47, 10, 1, 0.991, 0.98),
        (50, 33, 10, 2, 0.956, 0.92),
        (16, 8, 3, 8, 0.740, 0.74),
        (64, 32, 3, 1, 1.0, 1.0),
        (32, 16, 3, 3, 0.955, 0.96),
    ],
)
def test_pursuit_without_negative_codes_beats_the_classical_one(n, m, k, n_dictionaries, mcc, f1):
    def measure(z, dictionary, x):
        classical = orthogonal_mp(dictionary.T, x.T, n_nonzero_coefs=k, precompute=True).T
        ours = pursued(x, dictionary, k)
        classical_f1, our_f1 = (support(np.abs(codes), z)[2] for codes in (classical, ours))
        return sae.metrics.mcc(classical, z), classical_f1, sae.metrics.mcc(ours, z), our_f1

    found = over_dictionaries(measure, n, m, k, n_dictionaries=n_dictionaries)
    # one dictionary of 16 atoms may be .05 from the mean
    np.testing.assert_allclose(found[:2], [mcc, f1], atol=0.05 if n == 16 else 0.02)
    assert found[2] >= found[0] - 0.002
    assert found[3] >= found[1] - 0.002


@pytest.mark.parametrize(
    ("n", "m", "k", "n_dictionaries", "mcc"),
    [
        (100, 47, 10, 2, 0.766),
        (50, 33, 10, 3, 0.735),
        (16, 8, 3, 16, 0.721),
        (64, 32, 3, 3, 0.860),
        (32, 16, 3, 6, 0.797),
    ],
)
def test_one_step_encoder_with_the_true_dictionary(n, m, k, n_dictionaries, mcc):
    def measure(z, dictionary, x):
        return max(sae.metrics.mcc(np.maximum(x @ dictionary.T - bias, 0), z) for bias in np.arange(0.1, 0.51, 0.1))

    # no bias gets near what iterations find: the amortisation gap
    assert over_dictionaries(measure, n, m, k, n_dictionaries=n_dictionaries) == pytest.approx(mcc, abs=0.025)


@pytest.mark.parametrize(("n", "m", "k"), [(100, 47, 10), (50, 33, 10), (16, 8, 3), (64, 32, 3), (32, 16, 3)])
def test_least_squares_reaches_the_linear_ceiling_and_no_more(n, m, k):
    # moments of k active sources of n, uniform magnitudes: slightly anticorrelated, so slightly above m / n
    mean, together = k / (2 * n), k * (k - 1) / (4 * n * (n - 1))
    covariance = np.full((n, n), together - mean**2)
    np.fill_diagonal(covariance, k / (3 * n) - mean**2)

    def measure(z, dictionary, x):
        mixed = covariance @ dictionary
        explained = np.einsum("ij,ji->i", mixed, np.linalg.solve(dictionary.T @ mixed, mixed.T))
        return sae.metrics.r2_linear(x, z), np.mean(explained) / covariance[0, 0]

    found, ceiling = over_dictionaries(measure, n, m, k, n_dictionaries=1, n_cells=3_000)
    assert ceiling == pytest.approx(m / n, abs=0.02)
    assert found == pytest.approx(ceiling, abs=0.02)
    reference = {100: 0.463, 50: 0.648, 64: 0.495, 32: 0.479}
    assert n not in reference or found == pytest.approx(reference[n], abs=0.02)


def test_ceiling_is_exact_in_the_population():
    """Uncorrelated sources with very unequal variances: the mean of R2 is rank / n whatever the mixing."""
    rng = np.random.default_rng(0)
    mixing, variance = rng.normal(size=(12, 5)), rng.exponential(size=12) ** 3
    explained = variance[:, None] * mixing @ np.linalg.inv(mixing.T @ (variance[:, None] * mixing)) @ mixing.T
    assert np.mean(np.diag(explained)) == pytest.approx(5 / 12)


@pytest.mark.parametrize(
    ("n", "m", "n_random", "expected"),
    [
        (32, 16, 40, 0.455),
        (64, 32, 20, 0.380),
        (100, 47, 20, 0.335),
        (128, 32, 20, 0.420),
        (512, 64, 4, 0.355),
        (1024, 128, 2, 0.272),
    ],
)
def test_agreement_of_random_dictionaries(n, m, n_random, expected):
    pair = np.random.default_rng(1).normal(size=(2, n, m))
    score, info = sae.metrics.pw_mcc(list(pair), n_random=n_random, return_info=True)
    assert info["null"].mean() == pytest.approx(expected, abs=0.01)
    assert score == pytest.approx(expected, abs=0.05)
    assert info["null"].max() < np.sqrt(2 * np.log(n) / m)


@pytest.mark.parametrize(
    ("n_cells", "n_units", "expected"), [(1_000, 200, 0.092), (5_000, 200, 0.042), (1_000, 4_000, 0.120)]
)
def test_mcc_of_independent_codes(n_cells, n_units, expected):
    rng = np.random.default_rng(0)
    score = sae.metrics.mcc(rng.normal(size=(n_cells, n_units)), rng.normal(size=(n_cells, 50)))
    assert score == pytest.approx(expected, abs=0.005)
    assert score < np.sqrt(2 * np.log(n_units) / n_cells)


@pytest.mark.parametrize(("n", "m", "k", "expected"), [(32, 16, 3, 0.036), (64, 32, 3, 0.044), (100, 47, 10, 0.042)])
def test_mcc_of_shuffled_codes(n, m, k, expected):
    z = planted(n, m, k, 4_000, np.random.default_rng(0), half_normal=True)[0]
    null = sae.metrics.mcc(z, z, n_perms=5, return_info=True)[1]["null"]
    assert null.mean() == pytest.approx(expected, abs=0.006)


def test_isotropic_data_in_fifty_dimensions():
    x = np.random.default_rng(0).normal(size=(20_000, 50))
    assert sae.metrics.effective_rank(x) == pytest.approx(49.98, abs=0.02)
    assert sae.metrics.participation_ratio(x) == pytest.approx(49.9, abs=0.1)
    few = np.mean([sae.metrics.participation_ratio(x[i : i + 100]) for i in range(0, 2_000, 100)])
    assert few == pytest.approx(50 / (1 + 50 / 100), abs=0.7)


def test_trained_topk_reaches_the_reference():
    """Reference: 50,000 cells, 40 epochs: cosine .887, encoder MCC .788, agreement of seeds .83-.86; chance .46."""
    z, dictionary, x = planted(32, 16, 3, 22_000, np.random.default_rng(0), half_normal=True)
    x = x.astype(np.float32)
    fits = [sae.models.SparseAutoencoder(32, k=3, max_epochs=20, rng=seed).fit(x[:20_000]) for seed in range(2)]
    for fit in fits:
        assert sae.metrics.pw_mcc([fit.W_dec_, dictionary]) > 0.887
        assert sae.metrics.mcc(fit.transform(x[20_000:]), z[20_000:]) > 0.82
    assert sae.metrics.pw_mcc([fit.W_dec_ for fit in fits]) > 0.86
