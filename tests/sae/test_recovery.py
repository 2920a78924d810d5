"""Known truth: the planted dictionary comes back, whatever the offset, and codes follow the planted ones."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import torch

import saescape as sae
from saescape._rows import RowSource
from saescape.sae import _trainer
from saescape.sae._data import hold_out_observations
from saescape.sae._defaults import PENALISED, make_plan
from saescape.sae._fit import fit_rows
from saescape.sae.architectures import ARCHITECTURES


def _planted(n=6000, d=48, n_true=96, l0=5, noise=0.05, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    dictionary = rng.normal(size=(n_true, d))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    codes = (rng.random((n, n_true)) < l0 / n_true) * (0.5 + rng.exponential(0.5, (n, n_true)))
    signal = codes @ dictionary
    scale = np.sqrt(np.square(signal).sum(1).mean())
    direction = rng.normal(size=d)
    x = signal + np.sqrt(noise) * signal.std(0).mean() * rng.normal(size=signal.shape)
    return (x + offset * scale * direction / np.linalg.norm(direction)).astype(np.float32), codes, dictionary


def _fit(x, seed=0, max_bytes=2**30, **settings):
    rows = RowSource(x)
    rng = np.random.default_rng(seed)
    held_out = hold_out_observations(rows.n_obs, rows.n_positions or 1, rows.n_dims, rng)
    n_train = int((~held_out).sum()) * (rows.n_positions or 1)
    plan = make_plan(rows.n_rows, rows.n_dims, n_train=n_train, **settings)
    return fit_rows(rows, plan, rows.moments(), held_out, rng=rng, device=torch.device("cpu"), max_bytes=max_bytes)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dictionary_and_codes_come_back(architecture):
    x, codes, dictionary = _planted()
    fit = _fit(x, architecture=architecture, n_features=256, k=6, max_epochs=40)
    random = np.random.default_rng(1).normal(size=fit.weights.W_dec.shape)
    # these shrink codes, or put general features first, at the cost of what was planted here
    weaker = architecture in {"relu", "matryoshka"}
    assert sae.metrics.mmcs(fit.weights.W_dec, dictionary) > (0.85 if weaker else 0.95)
    assert sae.metrics.mcc(fit.encoded.codes, codes) > (0.78 if weaker else 0.9)
    assert sae.metrics.mmcs(random, dictionary) < 0.55
    assert sae.metrics.mcc(np.maximum(x @ random.T, 0), codes) < 0.7
    assert fit.metrics["fvu"] < (0.6 if architecture == "relu" else 0.3)
    assert fit.metrics["l0"] == pytest.approx(6, rel=0.1 if architecture in PENALISED else 0.02)


def test_offset_makes_no_difference():
    scores = []
    for offset in (0.0, 5.0):
        x, _, dictionary = _planted(offset=offset)
        fit = _fit(x, n_features=256, k=6, max_epochs=40)
        scores.append((sae.metrics.mmcs(fit.weights.W_dec, dictionary), fit.metrics["fvu"], fit.metrics["n_dead"]))
    assert scores[1][0] > 0.95
    np.testing.assert_allclose(scores[0][:2], scores[1][:2], atol=0.01)
    assert scores[1][2] <= scores[0][2] + 10


def test_data_read_by_blocks_are_fitted_as_well():
    x, _, dictionary = _planted()
    fit = _fit(da.from_array(x, chunks=(1000, -1)), max_bytes=0, n_features=256, k=6, max_epochs=40)
    assert sae.metrics.mmcs(fit.weights.W_dec, dictionary) > 0.95


def test_decoding_tokens_before_pooling_recovers_the_codes():
    x, codes, _ = _planted(n=6000)
    tokens, truth = x.reshape(1500, 4, -1), codes.reshape(1500, 4, -1).mean(1)
    fit = _fit(tokens, n_features=256, k=6, max_epochs=40)
    decoded_first = sae.metrics.mcc(fit.encoded.codes, truth)
    pooled_first = sae.metrics.mcc(np.maximum((tokens.mean(1) - fit.weights.b_dec) @ fit.weights.W_enc, 0), truth)
    assert decoded_first > 0.85
    assert decoded_first > pooled_first + 0.1


def test_auxiliary_loss_revives_dead_features(monkeypatch):
    x, _, _ = _planted()
    n_dead = {}
    for k_aux in (32, 0):
        monkeypatch.setattr(_trainer, "K_AUX", k_aux)
        n_dead[k_aux] = _fit(x, n_features=256, k=6, max_epochs=60).metrics["n_dead"]
    assert n_dead[32] < 0.5 * n_dead[0]


def test_history_and_tables():
    x, _, _ = _planted(n=1000)
    fit = _fit(x, n_features=64, k=4, max_epochs=20)
    history = fit.history
    assert list(history.columns) == ["step", "loss", "fvu", "l0", "n_dead", "lr", "fvu_held_out"]
    assert history["step"].iloc[-1] == fit.metrics["n_steps"]
    assert history["fvu"].iloc[-1] < history["fvu"].iloc[0]
    assert 15 <= history["fvu_held_out"].notna().sum() <= 22
    assert fit.features["frac_active"].sum() == pytest.approx(fit.metrics["l0"])
    assert (fit.features["max_activation"] >= fit.features["mean_active"] - 1e-5).all()
    assert fit.metrics["n_train"] == 900
    assert history["fvu_held_out"].dropna().iloc[-1] == pytest.approx(fit.metrics["fvu"], rel=1e-3)


def test_divergence_is_an_error():
    x, _, _ = _planted(n=500)
    with pytest.raises(ValueError, match="Training diverged.*Lower `lr`"):
        _fit(x, n_features=64, k=4, lr=1e30)
