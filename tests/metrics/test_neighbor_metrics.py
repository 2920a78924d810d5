"""Metrics of a variable on neighbours: morans_i, local_sd_ratio."""

from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from scipy import sparse, stats
from sklearn.neighbors import kneighbors_graph

from saescape.metrics import local_sd_ratio, morans_i


def data(n=150, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return x, x[:, 0] + rng.normal(size=n)


def test_morans_i_equals_scanpy():
    x, y = data()
    expected = sc.metrics.morans_i(kneighbors_graph(x, 10), y)
    assert morans_i(x, y, 10) == pytest.approx(expected)
    assert morans_i(sparse.csr_matrix(x), 5 * y - 3, 10) == pytest.approx(expected)


def test_morans_i_is_calibrated():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3))
    infos = [morans_i(x, rng.exponential(size=100), 8, return_info=True) for _ in range(300)]
    values = np.array([value for value, _ in infos])
    assert values.mean() == pytest.approx(infos[0][1]["expected"], abs=4 * values.std() / np.sqrt(300))
    assert np.mean([info["sd"] for _, info in infos]) == pytest.approx(values.std(), rel=0.12)
    assert stats.kstest([info["pvalue"] for _, info in infos], "uniform").pvalue > 0.01
    value, info = morans_i(*data(), return_info=True)
    assert info["pvalue"] == pytest.approx(stats.norm.sf((value - info["expected"]) / info["sd"]))
    assert info["pvalue"] < 1e-10


def test_local_sd_ratio_has_chance_at_one_for_every_k_and_share_of_zeros():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    for y in (rng.normal(size=400), rng.exponential(size=400) * (np.arange(400) < 80)):
        for k in (5, 25):
            value, info = local_sd_ratio(x, y, k, n_perms=50, return_info=True)
            assert value == pytest.approx(1, abs=4 * info["null_sd"] / info["null_mean"])
            assert value == info["raw"] / info["null_mean"]
    assert info["null_mean"] < 0.95
    value, info = local_sd_ratio(x, x[:, 0], 5, n_perms=50, return_info=True)
    assert value == local_sd_ratio(x, x[:, 0], 5, n_perms=50) < 0.5
    assert info["pvalue"] == 1 / 51


@pytest.mark.parametrize("metric", [morans_i, local_sd_ratio])
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"y": np.ones(150)}, "`y` is constant"),
        ({"y": np.ones(3)}, "one number per row"),
        ({"y": np.full(150, np.nan)}, "`y` has 150 non-finite"),
        ({"x": np.full((150, 2), np.inf)}, "`x` has 300 non-finite"),
        ({"k": 150}, "`k` must be between"),
        ({"k": 0}, "`k` must be between"),
    ],
)
def test_bad_input(metric, change, match):
    x, y = data()
    with pytest.raises(ValueError, match=match):
        metric(**{"x": x, "y": y, "k": 5, **change})
