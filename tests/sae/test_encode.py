from __future__ import annotations

import numpy as np
import pytest
import torch

from saescape._rows import RowSource
from saescape.sae import _encode
from saescape.sae._calibrate import calibrate_threshold
from saescape.sae._encode import encode_rows
from saescape.sae._weights import SaeWeights

CPU = torch.device("cpu")
N, D, M, K = 500, 9, 40, 4


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    arrays = {"W_enc": (D, M), "W_dec": (M, D), "b_enc": (M,), "b_dec": (D,)}
    drawn = {name: rng.normal(size=shape).astype(np.float32) for name, shape in arrays.items()}
    return SaeWeights(**drawn, architecture="topk", k=K)


def _expected(x, w):
    """Codes by the formula, with a sort of each row."""
    pre = (x.astype(np.float64) - w.b_dec) @ w.W_enc + w.b_enc
    if w.threshold is not None:
        return np.where(pre > np.maximum(w.threshold, 0), pre, 0)
    kept = pre >= np.sort(pre, axis=1)[:, [-w.k]]
    return np.where(kept, np.maximum(pre, 0), 0)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_codes_and_measures_by_the_formula(architecture, weights, monkeypatch):
    monkeypatch.setattr(_encode, "_PRE_ELEMENTS", 64 * M)
    x = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)
    # some rows have no positive pre-activation
    weights = SaeWeights(
        **weights.arrays() | {"b_enc": weights.b_enc - 4, "threshold": None},
        architecture=architecture,
        k=K,
    )
    if architecture == "batchtopk":
        weights = SaeWeights(
            **weights.arrays(), architecture=architecture, k=K, threshold=np.linspace(-1, 2, M).astype(np.float32)
        )
    groups = np.arange(N) % 3
    encoded = encode_rows(RowSource(x), weights, CPU, groups)
    expected = _expected(x, weights)
    assert encoded.codes.dtype == np.float32
    assert encoded.codes.has_sorted_indices
    assert type(encoded.codes).__name__ == "csr_matrix"
    np.testing.assert_allclose(encoded.codes.toarray(), expected, atol=1e-4)
    assert (encoded.codes.data > 0).all()
    assert encoded.l0 == pytest.approx((expected > 0).sum() / N)
    np.testing.assert_array_equal(encoded.n_active, (expected > 0).sum(0))
    np.testing.assert_allclose(encoded.total, expected.sum(0), rtol=1e-4)
    np.testing.assert_allclose(encoded.maximum, expected.max(0), rtol=1e-4)
    for g in range(3):
        part = x[groups == g].astype(np.float64)
        error = np.square(part - (expected[groups == g] @ weights.W_dec + weights.b_dec)).sum()
        variance = np.square(part - part.mean(0)).sum()
        assert encoded.fvu(np.arange(3) == g) == pytest.approx(error / variance, rel=1e-4)


@pytest.mark.parametrize("positions", [4, 100])
def test_tokens_are_encoded_one_by_one_and_averaged(weights, positions):
    tokens = np.random.default_rng(1).normal(size=(30, positions, D)).astype(np.float32)
    pooled = encode_rows(RowSource(tokens), weights, CPU)
    alone = encode_rows(RowSource(tokens.reshape(-1, D)), weights, CPU)
    mean = alone.codes.toarray().reshape(30, positions, M).mean(1)
    np.testing.assert_allclose(pooled.codes.toarray(), mean, atol=1e-5)
    assert pooled.codes.has_canonical_format
    assert pooled.l0 == alone.l0


def test_code_does_not_depend_on_the_batch(weights):
    x = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)
    together = encode_rows(RowSource(x), weights, CPU).codes
    for part in (slice(0, 1), slice(7, 60), slice(499, 500)):
        alone = encode_rows(RowSource(x[part]), weights, CPU).codes
        np.testing.assert_allclose(alone.toarray(), together[part].toarray(), atol=1e-5)


@pytest.mark.parametrize("guess", [None, 0.01, 2.0, 50.0])
def test_threshold_leaves_k_active_per_training_row(weights, guess):
    x = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)
    train = np.arange(N) % 5 > 0
    threshold = calibrate_threshold(RowSource(x), weights, train, CPU, guess)
    pre = ((x - weights.b_dec) @ weights.W_enc + weights.b_enc)[train]
    exact = np.sort(pre.ravel())[-K * int(train.sum())]
    assert threshold == pytest.approx(exact, rel=1e-3)
    assert (pre > threshold).sum() / train.sum() == pytest.approx(K, rel=0.005)


def test_threshold_when_fewer_than_k_are_positive(weights):
    low = SaeWeights(**weights.arrays() | {"b_enc": weights.b_enc - 100}, architecture="batchtopk", k=K)
    x = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)
    assert calibrate_threshold(RowSource(x), low, np.ones(N, dtype=bool), CPU) == 0.0


def test_errors_in_given_units(weights):
    x = np.random.default_rng(5).normal(size=(40, D)).astype(np.float32)
    scale = np.linspace(0.5, 3, D)
    encoded = encode_rows(RowSource(x), weights, CPU, scale=scale)
    x_hat = weights.decode(encoded.codes)
    expected = np.square((x - x_hat) / scale).sum() / np.square((x - x.mean(0)) / scale).sum()
    assert encoded.fvu() == pytest.approx(expected, rel=1e-5)
