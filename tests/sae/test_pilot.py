from __future__ import annotations

import numpy as np
import pytest
import torch

from saescape._rows import RowSource
from saescape.sae._data import TrainingRows
from saescape.sae._defaults import make_plan
from saescape.sae._parameters import Standardizer
from saescape.sae._pilot import largest_k, pilot_k


def choose(x, seed=0, **settings):
    rows = RowSource(x)
    held_out = np.arange(len(x)) % 10 == 0
    plan = make_plan(len(x), x.shape[1], n_train=int((~held_out).sum()), **settings)
    data = TrainingRows(rows, held_out, torch.device("cpu"))
    return pilot_k(data, plan, Standardizer("center", *rows.moments()), np.random.default_rng(seed))


def planted(n_active, n=2_000, d=32, m=64):
    rng = np.random.default_rng(0)
    dictionary = rng.standard_normal((m, d))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    codes = (rng.random((n, m)) < n_active / m) * (0.5 + rng.exponential(0.5, (n, m)))
    return (codes @ dictionary + 0.03 * rng.standard_normal((n, d)) + 2).astype(np.float32)


@pytest.mark.parametrize("n_active", [2, 4])
def test_planted_number_is_found_within_a_factor_of_two(n_active):
    chosen = choose(planted(n_active), n_features=128)
    assert n_active / 2 <= chosen.k <= 2 * n_active


def test_result_repeats_and_does_not_depend_on_architecture_k_or_unit():
    x = planted(3, n=500)
    first = choose(x, n_features=64)
    for other in (choose(x, n_features=64, architecture="jumprelu", k=7), choose(1024 * x, n_features=64)):
        assert other.k == first.k
        np.testing.assert_allclose(other.bits, first.bits, rtol=1e-3)


def test_data_smaller_than_a_batch():
    x = np.random.default_rng(0).standard_normal((30, 12)).astype(np.float32)
    assert choose(x).k <= largest_k(16, 12)


def test_largest():
    assert [largest_k(1024, 128), largest_k(4096, 512), largest_k(120, 128), largest_k(16, 2)] == [42, 64, 10, 1]
