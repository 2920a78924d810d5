from __future__ import annotations

import numpy as np
import pytest
import torch

from saescape.sae._parameters import Parameters, Standardizer


@pytest.fixture
def setting():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)) * np.array([1, 2, 3, 0.1, 5, 1]) + 7
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    p = Parameters(draw(15, 6), draw(15, 6), draw(15), draw(6))
    p.normalise()
    return x, p


@pytest.mark.parametrize("kind", ["center", "zscore", "none"])
def test_folded_weights_do_on_raw_data_what_the_parameters_do_on_standardised_data(kind, setting):
    x, p = setting
    standardizer = Standardizer(kind, x.mean(0), x.var(0))
    mean, inverse = standardizer.tensors(torch.device("cpu"))
    xs = (torch.from_numpy(x).float() - mean) * inverse
    pre = (xs - p.b_dec) @ p.encoder.T + p.b_enc
    expected = (pre.relu() @ p.decoder + p.b_dec) / inverse + mean

    weights = standardizer.fold(p, architecture="batchtopk", k=3, threshold=0.5)
    pre_raw = (x - weights.b_dec) @ weights.W_enc + weights.b_enc
    np.testing.assert_allclose(pre_raw, pre.numpy() * standardizer.code_scale, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(weights.decode(np.maximum(pre_raw, 0)), expected.numpy(), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(weights.threshold, 0.5 * standardizer.code_scale, rtol=1e-6)
    if kind != "zscore":
        np.testing.assert_allclose(np.linalg.norm(weights.W_dec, axis=1), 1, atol=1e-6)

    back = standardizer.unfold(weights, torch.device("cpu"))
    for name in p.__annotations__:
        torch.testing.assert_close(getattr(back, name), getattr(p, name), rtol=1e-4, atol=1e-4)


def test_scales():
    variance = np.array([1.0, 4.0, 0.0])
    center = Standardizer("center", np.ones(3), variance)
    np.testing.assert_allclose(center.scale, np.sqrt(5 / 3))
    assert center.total_variance == pytest.approx(3)
    zscore = Standardizer("zscore", np.ones(3), variance)
    np.testing.assert_allclose(zscore.scale, [1, 2, 1])
    none = Standardizer("none", np.full(3, 5.0), variance)
    np.testing.assert_allclose(none.b_dec, 5)
    assert none.total_variance == pytest.approx(5)


def test_constant_data():
    with pytest.raises(ValueError, match="no variance: all rows are equal"):
        Standardizer("center", np.full(3, 5.0), np.full(3, 1e-20))
