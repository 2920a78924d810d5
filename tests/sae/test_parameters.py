from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse

from saescape._rows import RowSource
from saescape.sae._encode import encode_rows
from saescape.sae._parameters import Parameters, Standardizer
from saescape.sae.architectures import ARCHITECTURES, make_architecture


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
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_give_the_codes_of_the_parameters(architecture, kind, setting):
    x, p = setting
    learned = {
        "jumprelu": {"log_threshold": torch.linspace(-1, 1, 15)},
        "gated": {"r_mag": torch.linspace(-0.5, 0.5, 15), "b_mag": torch.linspace(-0.2, 0.4, 15)},
    }
    p.extras = learned.get(architecture, {})
    standardizer = Standardizer(kind, x.mean(0), x.var(0))
    mean, inverse = standardizer.tensors(torch.device("cpu"))
    xs = (torch.from_numpy(x).float() - mean) * inverse
    active = make_architecture(architecture, 3, 15).infer((xs - p.b_dec) @ p.encoder.T + p.b_enc, p.learned())
    expected = sparse.csr_matrix((active.values.relu(), (active.rows, active.cols)), shape=(200, 15)).toarray()

    weights = standardizer.fold(p, architecture=architecture, k=3)
    if architecture in {"batchtopk", "matryoshka"}:
        weights = replace(weights, threshold=np.zeros(15, dtype=np.float32))
    codes = encode_rows(RowSource(x), weights, torch.device("cpu")).codes.toarray()
    np.testing.assert_allclose(codes, expected * standardizer.code_scale, rtol=1e-3, atol=1e-3)

    back = standardizer.unfold(weights, torch.device("cpu"))
    assert set(back.named()) == set(p.named())
    for name, tensor in p.named().items():
        torch.testing.assert_close(back.named()[name], tensor, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["center", "zscore", "none"])
def test_folded_weights_do_on_raw_data_what_the_parameters_do_on_standardised_data(kind, setting):
    x, p = setting
    standardizer = Standardizer(kind, x.mean(0), x.var(0))
    mean, inverse = standardizer.tensors(torch.device("cpu"))
    xs = (torch.from_numpy(x).float() - mean) * inverse
    pre = (xs - p.b_dec) @ p.encoder.T + p.b_enc
    expected = (pre.relu() @ p.decoder + p.b_dec) / inverse + mean

    weights = standardizer.fold(p, architecture="topk", k=3)
    pre_raw = (x - weights.b_dec) @ weights.W_enc + weights.b_enc
    np.testing.assert_allclose(pre_raw, pre.numpy() * standardizer.code_scale, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(weights.decode(np.maximum(pre_raw, 0)), expected.numpy(), rtol=1e-4, atol=1e-3)
    if kind != "zscore":
        np.testing.assert_allclose(np.linalg.norm(weights.W_dec, axis=1), 1, atol=1e-6)


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
