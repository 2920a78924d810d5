from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from saescape.sae import _match_bits
from saescape.sae._infer import Dictionary
from saescape.sae._match_bits import _bits, _shortest_penalty, shortest_rule
from saescape.sae._rule import CodingRule
from saescape.sae._weights import SaeWeights

CPU = torch.device("cpu")
N, D, TRUE, SIGMA = 1_500, 24, 40, 0.03


def make_weights(decoder, **others):
    decoder = np.asarray(decoder, dtype=np.float32)
    m, d = decoder.shape
    zeros = {"b_enc": np.zeros(m, np.float32), "b_dec": np.zeros(d, np.float32)}
    return SaeWeights(W_enc=decoder.T, W_dec=decoder, **zeros, architecture="topk", k=3, **others)


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(TRUE, D))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def planted(truth):
    """Three of the true directions on average in each row, and the entries themselves."""
    rng = np.random.default_rng(1)
    codes = (rng.random((N, TRUE)) < 3 / TRUE) * (0.5 + rng.exponential(0.5, (N, TRUE)))
    x = codes @ truth + SIGMA * rng.normal(size=(N, D))
    return torch.tensor(x, dtype=torch.float32), codes


def l0(rule, weights, x):
    return rule.for_weights(weights, CPU).active(x).values.numel() / len(x)


def length(rule, weights, x):
    dictionary = Dictionary(weights, CPU, rule.used)
    return _bits(dictionary, rule.apply(dictionary), x)


@pytest.mark.parametrize("method", ["omp", "fista"])
@pytest.mark.parametrize("scaled", [False, True])
def test_bits_are_those_of_dense_codes_and_their_residual(method, scaled, truth, planted):
    rng = np.random.default_rng(2)
    scale = np.linspace(0.3, 3, D).astype(np.float32) if scaled else None
    unit = np.ones(D) if scale is None else scale
    # decoder rows of unequal lengths, in units of the input
    weights = make_weights(truth * rng.uniform(0.3, 3, (TRUE, 1)) * unit, scale=scale)
    centred = planted[0] * torch.tensor(unit, dtype=torch.float32)
    rule = CodingRule(method, 0.2, 8 if method == "omp" else None)

    active = rule.for_weights(weights, CPU).active(centred)
    codes = np.zeros((N, TRUE))
    codes[active.rows, active.cols] = active.values
    noise = np.square((centred.numpy() - codes @ weights.W_dec) / unit).mean()
    powers = np.square(codes * np.linalg.norm(weights.W_dec / unit, axis=1))
    share = (codes > 0).mean(0)
    expected = (
        D / 2 * np.log2(noise)
        - sum(p * np.log2(p) for p in share if p > 0)
        + 0.5 * np.log2(1 + powers[codes > 0] / noise).sum() / N
    )
    assert length(rule, weights, centred) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("method", ["omp", "fista"])
def test_penalty_is_the_best_of_a_fine_grid(method, truth, planted):
    weights, x = make_weights(truth), planted[0][:400]
    dictionary = Dictionary(weights, CPU)
    rule = CodingRule(method, 0.0, 12 if method == "omp" else None)
    found = _shortest_penalty(rule, dictionary, x)
    top = dictionary.largest_correlation(x)
    grid = top * 1.25 ** -np.arange(1, 30.0)
    bits = {penalty: length(replace(rule, penalty=penalty), weights, x) for penalty in grid}
    reached = length(replace(rule, penalty=found), weights, x)
    empty = length(replace(rule, penalty=1.001 * top), weights, x)
    # of what coding saves
    assert reached - min(bits.values()) < 0.02 * (empty - min(bits.values()))
    best = min(bits, key=bits.__getitem__)
    assert best / 1.6 <= found <= best * 1.6


@pytest.mark.parametrize("n_atoms", [6, 12, 24])
def test_true_dictionary_is_kept_and_its_l0_found_whatever_the_model_allows(n_atoms, truth, planted):
    weights, (x, codes) = make_weights(truth), planted
    rule = shortest_rule(CodingRule("omp", 0.0, n_atoms), weights, x)
    assert (rule.inference, rule.n_atoms) == ("omp", n_atoms)
    assert rule.used is None or rule.used.all()
    true = (codes > 0).sum(1).mean()
    # a few entries more than the true ones describe the noise of these very rows
    assert 0.95 * true < l0(rule, weights, x) < 1.5 * true
    densest = replace(rule, penalty=1e-4)
    assert l0(densest, weights, x) > 1.7 * true
    assert length(rule, weights, x) < length(densest, weights, x)


def test_duplicates_and_sums_are_left_out(truth, planted):
    rng = np.random.default_rng(3)
    x, codes = planted
    # half of the pairs below occur together more often than by chance
    pairs = np.arange(20).reshape(10, 2)
    both = rng.random((N, 10)) < 0.05
    x = x + torch.tensor(both @ (truth[pairs[:, 0]] + truth[pairs[:, 1]]), dtype=torch.float32)
    near = truth[20:30] + 0.1 * rng.normal(size=(10, D)) / np.sqrt(D)
    extra = np.concatenate([truth[pairs[:, 0]] + truth[pairs[:, 1]], near])
    extra /= np.linalg.norm(extra, axis=1, keepdims=True)
    weights = make_weights(np.concatenate([truth, extra]))
    rule = shortest_rule(CodingRule("omp", 0.0, 12), weights, x)
    assert rule.used is not None
    assert rule.used[:20].all()
    assert not rule.used[TRUE : TRUE + 10].any()
    # one of each pair of near duplicates
    np.testing.assert_array_equal(rule.used[20:30] ^ rule.used[TRUE + 10 :], True)
    everything = replace(rule, used=None, penalty=_shortest_penalty(rule, Dictionary(weights, CPU), x))
    assert length(rule, weights, x) < length(everything, weights, x)
    active = rule.for_weights(weights, CPU).active(x)
    assert rule.used[active.cols.numpy()].all()


def test_rows_that_do_not_differ_from_their_mean(truth):
    rule = shortest_rule(CodingRule("omp", 0.0, 4), make_weights(truth), torch.zeros(20, D))
    assert rule.penalty > 0
    assert rule.used is None
    assert l0(rule, make_weights(truth), torch.zeros(20, D)) == 0


def test_unit_of_the_data_makes_no_difference(truth, planted):
    weights, x = make_weights(truth), planted[0][:400]
    rule = CodingRule("omp", 0.0, 12)
    once, large = (shortest_rule(rule, weights, factor * x) for factor in (1.0, 1024.0))
    assert large.penalty == pytest.approx(1024 * once.penalty, rel=1e-5)
    assert l0(once, weights, x) == l0(large, weights, 1024 * x)


@pytest.mark.parametrize(
    ("lengths", "steps"),
    [
        # one that is longer does not end the search, two do, and both sides of the best are tried
        ([10, 8, 9, 5, 6, 7, 99, 99], 4),
        ([10, 8, 9, 9, 1, 99], 1.5),
        ([10, 8, 9, 9, 99, 1], 2.5),
        ([10, 8, 9, 9, 99, 99], 2),
    ],
)
def test_search_goes_on_behind_a_single_longer_description(lengths, steps, truth, planted, monkeypatch):
    left = iter(lengths)
    monkeypatch.setattr(_match_bits, "_bits", lambda *_: next(left))
    dictionary, x = Dictionary(make_weights(truth), CPU), planted[0][:100]
    found = _shortest_penalty(CodingRule("omp", 0.0, 4), dictionary, x)
    assert found == pytest.approx(dictionary.largest_correlation(x) / 1.6**steps, rel=1e-6)
