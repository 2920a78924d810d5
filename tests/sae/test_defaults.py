from __future__ import annotations

import numpy as np
import pytest

from saescape.sae._defaults import default_n_features, default_n_steps, effective_dims, make_plan


@pytest.mark.parametrize(
    ("n", "d", "m", "k", "batch", "steps"),
    [
        (20_000, 128, 1024, 16, 512, 1000),
        (200_000, 512, 4096, 32, 512, 1000),
        (5_000, 128, 500, 16, 256, 1954),
        (700, 50, 150, 5, 256, 1000),
        (300, 20, 60, 2, 256, 1000),
        (40, 20, 16, 1, 40, 1000),
        (10**7, 50, 512, 16, 2048, 9766),
    ],
)
def test_defaults_follow_the_size_of_the_data(n, d, m, k, batch, steps):
    plan = make_plan(n, d)
    assert (plan.n_features, plan.k, plan.batch_size, plan.n_steps) == (m, k, batch, steps)
    assert 0 < plan.lr <= 1e-2
    assert plan.dead_window == min(n, 20_000)


def test_width_of_few_rows_follows_the_dimensions_that_hold_variance():
    flat, steep = np.ones(50), 0.5 ** np.arange(50)
    assert effective_dims(flat, "center") == pytest.approx(50)
    assert effective_dims(steep, "center") == pytest.approx(3, rel=1e-6)
    assert effective_dims(np.append(steep, 0), "zscore") == 50
    assert effective_dims(np.zeros(3), "center") == 1
    widths = [make_plan(700, 50, effective=effective_dims(v, "center")).n_features for v in (flat, steep)]
    assert widths == [150, 70]


def test_formulas():
    assert default_n_features(10**6, 64) == 512
    assert default_n_features(10**6, 65) == 1024
    assert make_plan(10**5, 128, n_features=4096, batch_size=128).lr == pytest.approx(5e-3 * 0.5 * 0.5)
    assert default_n_steps(100, 100) == 1000
    assert make_plan(1000, 10, n_train=900, max_epochs=3, batch_size=100).n_steps == 27


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        (
            {"architecture": "vanilla"},
            ValueError,
            r"`architecture` must be one of \['topk', 'batchtopk', 'gated'.*found 'vanilla'",
        ),
        ({"standardize": True}, ValueError, "`standardize` must be one of"),
        ({"n_features": 8, "k": 9}, ValueError, r"`k` must be between 1 and `n_features` \(8\), found 9"),
        ({"k": 1000}, ValueError, r"`k` must be between 1 and `n_features` \(100\), found 1000"),
        ({"k": 0}, ValueError, "`k` must be at least 1"),
        ({"n_features": 2.5}, TypeError, "`n_features` must be an integer"),
        ({"max_epochs": "3"}, TypeError, "`max_epochs` must be an integer"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        ({"lr": -1.0}, ValueError, "`lr` must be greater than 0"),
    ],
)
def test_bad_settings(kwargs, error, match):
    with pytest.raises(error, match=match):
        make_plan(1000, 10, **({"architecture": "topk"} | kwargs))


def test_too_few_rows():
    with pytest.raises(ValueError, match="At least 10 rows are needed.*found n_samples = 9"):
        make_plan(9, 3)
