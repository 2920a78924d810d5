"""Metrics of representations: effective_rank, participation_ratio, r2_linear, knn_recall, cka."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import kstest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import NearestNeighbors

import saescape as sae
from saescape.metrics import cka, effective_rank, knn_recall, participation_ratio, r2_linear


def cloud(n=60, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def cross(*scales):
    """Points on the axes: exactly these standard deviations."""
    return np.concatenate([np.diag(scales), -np.diag(scales)])


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_spectra_have_closed_forms(offset):
    assert effective_rank(cross(1.0, 1.0, 1.0, 1.0) + offset) == pytest.approx(4)
    assert participation_ratio(cross(1.0, 1.0, 1.0, 1.0) + offset) == pytest.approx(4)
    # sigma 3:1 gives p = 3/4, 1/4 and lambda 9:1
    assert effective_rank(cross(3.0, 1.0) + offset) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))
    assert participation_ratio(cross(3.0, 1.0) + offset) == pytest.approx(100 / 82)


def test_spectra_of_rank_and_finite_samples():
    low_rank = cloud(200, 3) @ cloud(3, 40, seed=1)
    assert effective_rank(low_rank) <= 3
    singular = PCA().fit(low_rank).singular_values_[:3]
    share = singular / singular.sum()
    assert effective_rank(low_rank) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)
    assert participation_ratio(cloud(100, 50)) == pytest.approx(50 / (1 + 50 / 100), rel=0.05)
    # more columns than rows goes through the other product
    wide = cloud(20, 90)
    values = np.linalg.svd(wide - wide.mean(0), compute_uv=False) ** 2
    assert participation_ratio(wide) == pytest.approx(values.sum() ** 2 / (values**2).sum())
    assert effective_rank(np.ones((4, 3))) == participation_ratio(np.ones((4, 3))) == 0


def test_r2_of_linear_maps_noise_and_groups():
    x = cloud(200)
    assert r2_linear(x, x @ cloud(5, 3, seed=1) + 7) == pytest.approx(1)
    assert -0.2 < r2_linear(x, cloud(200, 2, seed=2)) < 0.05
    noisy = x @ cloud(5, 1, seed=1)
    noisy = noisy + noisy.std() * cloud(200, 1, seed=3)
    assert r2_linear(x, noisy) == pytest.approx(0.5, abs=0.1)
    assert r2_linear(x, np.concatenate([x, np.ones((200, 1))], 1)) == pytest.approx(1)


def test_r2_equals_scikit_learn_on_two_groups():
    x, z = cloud(80), cloud(80) @ cloud(5, 1, seed=1) + cloud(80, 1, seed=2)
    groups = np.repeat(["a", "b"], 40)
    error = variance = 0.0
    for test in (groups == "a", groups == "b"):
        predicted = LinearRegression().fit(x[~test], z[~test]).predict(x[test])
        error += ((z[test] - predicted) ** 2).sum()
        variance += ((z[test] - z[~test].mean()) ** 2).sum()
    assert r2_linear(x, z, groups) == pytest.approx(1 - error / variance)


def test_groups_hold_out_what_single_rows_leak():
    # the target is a property of the donor, which the representation merely identifies
    donor = np.repeat(np.arange(12), 20)
    x = np.random.default_rng(0).normal(size=(12, 20))[donor] + 0.01 * cloud(240, 20, seed=1)
    z = np.random.default_rng(2).normal(size=(12, 1))[donor]
    assert r2_linear(x, z) > 0.9
    assert r2_linear(x, z, donor) < 0.3


def test_linear_ceiling_of_superposition():
    adata = sae.datasets.superposition(1_500, n_positions=1, n_dims=20, n_concepts=60, density=0.1, noise=0.0)
    assert r2_linear(adata.X, adata.obsm["concepts"]) == pytest.approx(20 / 60, abs=0.06)


def test_r2_null_of_permutations(global_state):
    x = cloud(120)
    score, info = r2_linear(x, cloud(120, 2, seed=1), n_perms=199, return_info=True)
    assert info["null"].shape == (199,)
    # fitting d coefficients to nothing costs about d / n on rows that were not seen, of which 4/5 are trained on
    assert info["null"].mean() == pytest.approx(-5 / 96, abs=0.02)
    assert info["pvalue"] > 0.02
    assert info["pvalue"] == (1 + (info["null"] >= score).sum()) / 200
    z = np.column_stack([x[:, 0] + cloud(120, 1, seed=2)[:, 0], np.ones(120), cloud(120, 1, seed=3)[:, 0]])
    score, info = r2_linear(x, z, n_perms=199, return_info=True)
    assert info["pvalue"] == 1 / 200
    assert np.isnan(info["r2"][1])
    assert np.nanmean(info["r2"]) == pytest.approx(score)
    assert info["r2"][0] > 0.3 > info["r2"][2]
    np.testing.assert_array_equal(r2_linear(x, z, n_perms=199, return_info=True)[1]["null"], info["null"])
    assert r2_linear(x, z) == score
    assert np.isnan(r2_linear(x, z, return_info=True)[1]["pvalue"])


def test_r2_null_within_groups():
    # donors differ in both, and cells of a donor have nothing in common
    donor = np.repeat(np.arange(10), 15)
    level = np.linspace(-3, 3, 10)[donor][:, None]
    pvalues = []
    for seed in range(60):
        x, z = cloud(150, 3, seed=seed) + level, cloud(150, 1, seed=1_000 + seed) + level
        score, info = r2_linear(x, z, donor, n_perms=19, return_info=True)
        pvalues.append(info["pvalue"])
        assert score > 0.5
    assert kstest(pvalues, "uniform").pvalue > 0.01
    # permuted freely, the difference of donors would count as prediction
    assert r2_linear(x, z, n_perms=99, return_info=True)[1]["pvalue"] == 0.01
    assert r2_linear(x, z + 2 * (x[:, :1] - level), donor, n_perms=99, return_info=True)[1]["pvalue"] == 0.01
    # what is constant within groups cannot be told from the groups
    assert r2_linear(x, level, donor, n_perms=19, return_info=True)[1]["pvalue"] == 1


def test_r2_pvalues_are_uniform_under_the_null():
    pvalues = [
        r2_linear(cloud(40, 3, seed=i), cloud(40, 1, seed=1_000 + i), n_perms=39, return_info=True)[1]["pvalue"]
        for i in range(150)
    ]
    assert kstest(pvalues, "uniform").pvalue > 0.01


def test_recall_equals_scikit_learn_and_chance():
    x, y = cloud(80), cloud(80, 3, seed=1) + 0.5 * cloud(80)[:, :3]
    neighbours = [NearestNeighbors(n_neighbors=7).fit(a).kneighbors(return_distance=False) for a in (x, y)]
    expected = np.mean([len(set(a) & set(b)) / 7 for a, b in zip(*neighbours, strict=True)])
    assert knn_recall(x, y, 7) == pytest.approx(expected)
    unrelated = np.mean([knn_recall(cloud(100, seed=2 * i), cloud(100, seed=2 * i + 1), 10) for i in range(10)])
    assert unrelated == pytest.approx(10 / 99, abs=0.015)
    assert knn_recall(x, y, 79) == 1


def test_recall_of_sparse_codes():
    codes = np.maximum(cloud(90, 30), 0) * (cloud(90, 30, seed=1) > 0)
    assert knn_recall(sparse.csc_matrix(codes), cloud(90), 8) == pytest.approx(knn_recall(codes, cloud(90), 8))
    assert knn_recall(cloud(90), sparse.csr_array(codes), 8) == pytest.approx(knn_recall(cloud(90), codes, 8))
    codes[3, 4] = np.inf
    with pytest.raises(ValueError, match="`y` has 1 non-finite"):
        knn_recall(cloud(90), sparse.csr_matrix(codes))


def centred_kernel_alignment(x, y):
    n = len(x)
    centre = np.eye(n) - 1 / n
    k, l_ = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return (k * l_).sum() / np.sqrt((k * k).sum() * (l_ * l_).sum())


def unbiased_hsic(k, l_):
    n = len(k)
    k, l_ = k - np.diag(np.diag(k)), l_ - np.diag(np.diag(l_))
    one = np.ones(n)
    correction = one @ k @ one * (one @ l_ @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * one @ k @ l_ @ one
    return (np.trace(k @ l_) + correction) / (n * (n - 3))


def test_cka_equals_the_kernel_form():
    x = cloud(30, 8)
    y = x[:, :4] + 0.5 * cloud(30, 4, seed=1)
    assert cka(x, y) == pytest.approx(centred_kernel_alignment(x, y))
    k, l_ = x @ x.T, y @ y.T
    expected = unbiased_hsic(k, l_) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(l_, l_))
    assert cka(x + 3, y, debiased=True) == pytest.approx(expected)
    # one dimension each: the squared correlation
    assert cka(x[:, :1], y[:, :1]) == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1] ** 2)
    # more dimensions than rows goes through the other product
    wide = np.concatenate([x, cloud(30, 90, seed=2)], 1)
    assert cka(wide, wide[:, 4:]) == pytest.approx(centred_kernel_alignment(wide, wide[:, 4:]))
    k, l_ = wide @ wide.T, wide[:, 4:] @ wide[:, 4:].T
    expected = unbiased_hsic(k, l_) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(l_, l_))
    assert cka(wide, wide[:, 4:], debiased=True) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "d", "e"), [(40, 200, 200), (60, 20, 50), (500, 30, 30)])
def test_cka_of_independent_data(n, d, e):
    pairs = [(cloud(n, d, seed=2 * i), cloud(n, e, seed=2 * i + 1)) for i in range(10)]
    expected = np.sqrt(d * e / ((n + d) * (n + e)))
    assert np.mean([cka(x, y) for x, y in pairs]) == pytest.approx(expected, rel=0.05)
    assert np.mean([cka(x, y, debiased=True) for x, y in pairs]) == pytest.approx(0, abs=0.03)


def test_cka_of_unrelated_wide_data():
    x, y = cloud(40, 400), cloud(40, 400, seed=1)
    assert cka(x, y) > 0.8
    assert abs(cka(x, y, debiased=True)) < 0.1
    rotation = np.linalg.qr(cloud(400, 400, seed=2))[0]
    assert cka(x, 5 * x @ rotation, debiased=True) == pytest.approx(1)


def test_inputs_are_not_changed():
    x, y = cloud(), cloud(seed=1)
    before = x.copy(), y.copy()
    cka(x, y)
    r2_linear(x, y)
    knn_recall(x, y, 3)
    effective_rank(x)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda x: effective_rank(x[:, 0]), "`x` must be 2-D"),
        (lambda x: participation_ratio(x[:1]), "`x` must have at least 2 rows"),
        (lambda x: effective_rank(np.where(x > 2, np.nan, x)), "`x` has .* non-finite"),
        (lambda x: knn_recall(x, x[:5], 3), "same number of rows, found 60 and 5"),
        (lambda x: knn_recall(x, x, 60), "`k` must be between 1 and `n - 1` \\(59\\)"),
        (lambda x: cka(x, np.ones((60, 2))), "`y` has no variance"),
        (lambda x: cka(x[:3], x[:3], debiased=True), "at least 4 rows"),
        (lambda x: r2_linear(x, np.ones((60, 1))), "`z` has no variance"),
        (lambda x: r2_linear(x, x, np.zeros(60)), "`groups` must have .* two groups, found 60 and 1"),
        (lambda x: r2_linear(x, x, n_perms=-1), "`n_perms` must be at least 0"),
        (lambda x: r2_linear(x, x, [0, 1]), "one entry per row \\(60\\)"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call(cloud())
