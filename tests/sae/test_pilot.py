from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from saescape._rows import RowSource
from saescape.sae import _pilot
from saescape.sae._choose_k import ChosenK
from saescape.sae._communicator import ALONE, Communicator
from saescape.sae._data import TrainingRows
from saescape.sae._defaults import make_plan
from saescape.sae._parameters import Standardizer
from saescape.sae._pilot import pilot_k, with_chosen_k


def prepared(x, seed=0, **settings):
    rows = RowSource(x)
    held_out = np.arange(len(x)) % 10 == 0
    plan = make_plan(len(x), x.shape[1], n_train=int((~held_out).sum()), **settings)
    data = TrainingRows(rows, held_out, torch.device("cpu"))
    return data, plan, Standardizer("center", *rows.moments()), np.random.default_rng(seed)


def choose(x, seed=0, **settings):
    return pilot_k(*prepared(x, seed, **settings))


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


def test_result_repeats_and_does_not_depend_on_architecture_or_unit():
    x = planted(3, n=500)
    first = choose(x, n_features=64)
    for other in (choose(x, n_features=64, architecture="jumprelu"), choose(1024 * x, n_features=64)):
        assert other.k == first.k
        np.testing.assert_allclose(other.bits, first.bits, rtol=1e-3)


def test_data_smaller_than_a_batch():
    x = np.random.default_rng(0).standard_normal((30, 12)).astype(np.float32)
    assert choose(x).k == 1


def test_nothing_is_tried_beyond_the_number_of_the_plan():
    x = np.random.default_rng(0).standard_normal((500, 40)).astype(np.float32)
    assert choose(x, n_features=64, k=5).tried.max() <= 5


def chosen(k, *bits):
    return ChosenK(k, 2 ** np.arange(len(bits)), np.array(bits))


class Second(Communicator):
    """The second of two processes; the first one found something else."""

    rank, world_size = 1, 2

    def share(self, value):
        return chosen(7, 4.0, 2.0, 1.0, 3.0, 5.0)


@pytest.mark.parametrize(
    ("bits", "found"),
    [
        ((5.0, 3.0, 2.0, 4.0, 6.0), True),
        ((5.0, 2.0, 2.0), True),
        # descriptions that only get shorter or longer, and a single number
        ((5.0, 4.0, 3.0, 2.0), False),
        ((1.0, 2.0, 3.0), False),
        ((1.0,), False),
    ],
)
def test_a_minimum_at_an_end_was_not_found(bits, found):
    assert chosen(3, *bits).is_minimum == found


def test_few_where_one_feature_has_the_shortest_description(monkeypatch):
    for rule, expected in ((16, 6), (6, 3), (2, 2), (1, 1)):
        monkeypatch.setattr(_pilot, "pilot_k", lambda *_: chosen(2, 1.0, 2.0, 3.0))
        data, plan, standardizer, rng = prepared(planted(2, n=300), n_features=64)
        result, _ = with_chosen_k(data, replace(plan, k=rule), standardizer, rng, ALONE)
        assert (result.k, result.k_found) == (expected, False)


@pytest.mark.parametrize(("bits", "found"), [((5.0, 3.0, 4.0, 6.0), True), ((5.0, 4.0, 3.0), False)])
def test_plan_gets_the_number_only_when_it_was_found(bits, found, monkeypatch):
    monkeypatch.setattr(_pilot, "pilot_k", lambda *_: chosen(3, *bits))
    data, plan, standardizer, rng = prepared(planted(2, n=300), n_features=64)
    assert plan.k != 3
    assert plan.choose_k
    result, table = with_chosen_k(data, plan, standardizer, rng, ALONE)
    assert (result.k, result.k_found) == ((3, True) if found else (plan.k, False))
    # nothing else changes
    assert (result.lr, result.n_steps, result.n_features) == (plan.lr, plan.n_steps, plan.n_features)
    assert table["k"].tolist() == [2**i for i in range(len(bits))]
    assert table["bits"].tolist() == list(bits)
    assert table.index.tolist() == [str(i) for i in range(len(bits))]


def test_processes_take_what_the_first_one_found(monkeypatch):
    monkeypatch.setattr(_pilot, "pilot_k", lambda *_: chosen(3, 5.0, 3.0, 4.0, 6.0))
    plan, table = with_chosen_k(*prepared(planted(2, n=300), n_features=64), Second())
    assert (plan.k, plan.k_found) == (7, True)
    assert table["bits"].tolist() == [4.0, 2.0, 1.0, 3.0, 5.0]


def test_pilot_finds_the_plan_what_it_reports():
    data, plan, standardizer, rng = prepared(planted(4), n_features=128)
    result, table = with_chosen_k(data, plan, standardizer, rng, ALONE)
    assert result.k_found
    lowest = table["k"].iloc[table["bits"].argmin()]
    assert 1 < lowest < table["k"].max()
    assert lowest / 2 < result.k < 2 * lowest
    assert result.k == choose(planted(4), n_features=128).k
