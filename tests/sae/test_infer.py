from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.linear_model import Lasso

from saescape._rows import RowSource
from saescape.sae import _infer, _match_l0
from saescape.sae._encode import encode_rows
from saescape.sae._infer import Dictionary, FistaInference, OmpInference
from saescape.sae._infer_rows import infer_rows, tune_rule
from saescape.sae._match_l0 import encoder_l0, match_l0, sample_rows
from saescape.sae._weights import SaeWeights

CPU = torch.device("cpu")
N, D, M, K = 300, 10, 40, 3


@pytest.fixture
def weights():
    """A dictionary of unequal lengths and an encoder that is its transpose."""
    rng = np.random.default_rng(0)
    decoder = rng.normal(size=(M, D))
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    lengths = rng.uniform(0.2, 3, M)
    arrays = {
        "W_enc": (decoder / lengths[:, None]).T,
        "W_dec": decoder * lengths[:, None],
        "b_enc": np.zeros(M),
        "b_dec": rng.normal(size=D),
    }
    return SaeWeights(**{k: v.astype(np.float32) for k, v in arrays.items()}, architecture="topk", k=K)


@pytest.fixture
def x(weights):
    rng = np.random.default_rng(1)
    codes = rng.exponential(size=(N, M)) * (rng.random((N, M)) < 0.06)
    return (codes @ weights.W_dec + weights.b_dec + 0.05 * rng.normal(size=(N, D))).astype(np.float32)


def dense(active, n):
    codes = np.zeros((n, M))
    assert int(active.ptr[-1]) == len(active.values)
    np.testing.assert_array_equal(np.diff(active.ptr), np.bincount(active.rows, minlength=n))
    for row in range(n):
        assert (np.diff(active.cols[active.ptr[row] : active.ptr[row + 1]]) > 0).all()
    codes[active.rows, active.cols] = active.values
    return codes


@pytest.mark.parametrize("scaled", [False, True])
def test_fista_solves_the_stated_problem_in_units_of_scale(weights, x, scaled):
    scale = np.linspace(0.3, 3, D) if scaled else np.ones(D)
    centred = torch.from_numpy(x - weights.b_dec)
    inference = FistaInference(Dictionary(replace(weights, scale=scale) if scaled else weights, CPU), 0.1, tol=1e-6)
    codes = dense(inference.active(centred), N)
    assert inference.n_unconverged == 0
    atoms = weights.W_dec / scale
    lengths = np.linalg.norm(atoms, axis=1)
    # the penalty counts each code times the length of its decoder row
    lasso = Lasso(alpha=0.1 / D, positive=True, fit_intercept=False, tol=1e-10, max_iter=100_000)
    expected = [lasso.fit((atoms / lengths[:, None]).T, row).coef_ / lengths for row in centred.numpy()[:50] / scale]
    np.testing.assert_allclose(codes[:50], expected, atol=0.01)


def test_rescaling_a_decoder_row_rescales_its_code_only(weights, x):
    factor = np.linspace(0.5, 4, M, dtype=np.float32)
    other = SaeWeights(**weights.arrays() | {"W_dec": weights.W_dec * factor[:, None]}, architecture="topk", k=K)
    centred = torch.from_numpy(x - weights.b_dec)
    for make in (lambda d: FistaInference(d, 0.2), lambda d: OmpInference(d, 0.2, 8)):
        codes, rescaled = (dense(make(Dictionary(w, CPU)).active(centred), N) for w in (weights, other))
        np.testing.assert_allclose(rescaled * factor, codes, atol=2e-3)


def test_rows_of_more_atoms_than_the_first_attempt_allows(weights, x, monkeypatch):
    centred = torch.from_numpy(x - weights.b_dec)
    lengths = np.linalg.norm(weights.W_dec, axis=1)

    def objective():
        inference = FistaInference(Dictionary(weights, CPU), 0.02)
        codes = dense(inference.active(centred), N)
        assert inference.n_unconverged == 0
        return 0.5 * np.square(centred.numpy() - codes @ weights.W_dec).sum(1) + 0.02 * codes @ lengths

    exact = objective()
    monkeypatch.setattr(_infer, "_START_ATOMS", 1)
    excess = objective() - exact
    bound = 1e-4 * 0.5 * np.square(centred.numpy()).sum(1)
    assert (np.abs(excess) <= bound + 1e-5).all()
    assert excess.max() > 1e-6
    stopped = FistaInference(Dictionary(weights, CPU), 0.02, max_iter=3)
    stopped.active(centred)
    assert 0 < stopped.n_unconverged <= N


@pytest.mark.parametrize("method", ["fista", "omp"])
def test_code_depends_neither_on_batch_mates_nor_on_block_sizes(method, weights, x, monkeypatch):
    dictionary, centred = Dictionary(weights, CPU), torch.from_numpy(x - weights.b_dec)
    inference = FistaInference(dictionary, 0.1) if method == "fista" else OmpInference(dictionary, 0.1, 8)
    together = dense(inference.active(centred), N)
    order = np.random.default_rng(2).permutation(N)
    np.testing.assert_allclose(dense(inference.active(centred[order]), N), together[order], atol=1e-3)
    monkeypatch.setattr(_infer, "_ELEMENTS", 7 * M)
    np.testing.assert_allclose(dense(inference.active(centred), N), together, atol=1e-3)


@pytest.mark.parametrize("method", ["fista", "omp"])
@pytest.mark.parametrize("target", [0.7, 2.0, 4.5])
def test_penalty_gives_the_mean_l0_wanted(method, target, weights, x):
    dictionary, centred = Dictionary(weights, CPU), torch.from_numpy(x - weights.b_dec)
    infer = {"fista": lambda p: FistaInference(dictionary, p), "omp": lambda p: OmpInference(dictionary, p, 10)}[method]
    match = match_l0(dictionary, infer, centred, target)
    assert match.l0 == pytest.approx(target, rel=0.01)
    assert (dense(infer(match.penalty).active(centred), N) > 0).sum() / N == pytest.approx(match.l0)


def test_densest_codes_when_the_l0_is_out_of_reach(weights, x):
    dictionary, centred = Dictionary(weights, CPU), torch.from_numpy(x - weights.b_dec)
    match = match_l0(dictionary, lambda p: OmpInference(dictionary, p, D), centred, 30.0)
    plain = [np.count_nonzero(nnls(dictionary.atoms.numpy().T.astype(float), row)[0]) for row in centred.numpy()]
    assert match.l0 == pytest.approx(np.mean(plain), rel=0.01)
    empty = match_l0(dictionary, lambda p: OmpInference(dictionary, p, D), torch.zeros(5, D), 2.0)
    assert empty.l0 == 0


def test_sample_is_spread_over_observations_and_positions():
    tokens = np.arange(50 * 8, dtype=np.float32).reshape(50, 8, 1)
    everything = sample_rows(RowSource(tokens), 10_000)
    assert sorted(everything.ravel().tolist()) == list(range(400))
    part = sample_rows(RowSource(tokens), 100).ravel().numpy()
    assert len(np.unique(part)) == len(part) == 100
    np.testing.assert_array_equal(np.bincount((part // 8).astype(int), minlength=50), 2)
    assert len(np.unique(part % 8)) == 8
    few = sample_rows(RowSource(tokens[:, 0]), 7)
    assert few.shape == (7, 1)
    assert few[0] == 0
    assert few[-1] == 392


@pytest.mark.parametrize("method", ["fista", "omp"])
def test_tokens_are_inferred_one_by_one_at_the_encoders_l0(method, weights, x, monkeypatch):
    monkeypatch.setattr(_match_l0, "_READ_OBS", 7)
    tokens = RowSource(x.reshape(30, 10, D))
    tuned = tune_rule(tokens, weights, CPU, method)
    inferred = infer_rows(tokens, weights, CPU, tuned.rule)
    assert inferred.encoded.l0 == pytest.approx(encoder_l0(torch.from_numpy(x), weights, CPU), rel=0.02)
    assert inferred.by_encoder.l0 == encode_rows(tokens, weights, CPU).l0
    centred, dictionary = torch.from_numpy(x - weights.b_dec), Dictionary(weights, CPU)
    alone = FistaInference(dictionary, tuned.rule.penalty) if method == "fista" else None
    alone = alone or OmpInference(dictionary, tuned.rule.penalty, 4 * K)
    codes = dense(alone.active(centred), N)
    np.testing.assert_allclose(inferred.encoded.codes.toarray(), codes.reshape(30, 10, M).mean(1), atol=1e-4)
    error = np.square(centred.numpy() - codes @ weights.W_dec).sum() / np.square(x - x.mean(0)).sum()
    assert inferred.encoded.fvu() == pytest.approx(error, rel=1e-3)
    assert inferred.amortisation_gap == inferred.by_encoder.fvu() - inferred.encoded.fvu()
    assert inferred.amortisation_gap > 0.1


def test_fewer_atoms_than_dimensions_and_one_dimension():
    rng = np.random.default_rng(3)
    for m, d in ((3, 8), (5, 1), (1, 1)):
        arrays = {"W_enc": (d, m), "W_dec": (m, d), "b_enc": (m,), "b_dec": (d,)}
        drawn = {name: rng.normal(size=shape).astype(np.float32) for name, shape in arrays.items()}
        weights = SaeWeights(**drawn, architecture="topk", k=1)
        x = rng.normal(size=(50, d)).astype(np.float32)
        for method in ("fista", "omp"):
            rule = tune_rule(RowSource(x), weights, CPU, method, l0_target=0.5).rule
            inferred = infer_rows(RowSource(x), weights, CPU, rule)
            assert inferred.encoded.codes.shape == (50, m)
            assert (inferred.encoded.codes.data > 0).all()
