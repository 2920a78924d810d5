from __future__ import annotations

import pytest
import torch

from saescape.sae import _defaults
from saescape.sae.architectures import ARCHITECTURES, make_architecture


def _dense(active, shape):
    out = torch.zeros(shape)
    out[active.rows, active.cols] = active.values
    return out


def test_batch_topk_keeps_the_largest_of_the_batch_whatever_the_warm_start():
    generator = torch.Generator().manual_seed(1)
    selector = make_architecture("batchtopk", 5, 70)
    for scale in (1.0, 1.1, 0.2, 5.0, -1.0):
        # a jump of the scale makes the warm start miss on either side
        pre = scale * torch.randn(40, 70, generator=generator) if scale > 0 else -torch.rand(40, 70) - 1
        active = selector.select(pre, {})
        lowest = pre.flatten().topk(200).values.min()
        torch.testing.assert_close(_dense(active, pre.shape), torch.where(pre >= lowest, pre, 0.0))
        assert int(active.ptr[-1]) == 200
        assert torch.equal(active.ptr.diff(), torch.bincount(active.rows, minlength=40))


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka", "jumprelu"])
def test_threshold_of_each_feature_decides_at_inference(architecture):
    pre = torch.tensor([[1.0, 2.0, -1.0], [3.0, 0.5, 0.1]])
    active = make_architecture(architecture, 1, 3).infer(pre, {"threshold": torch.tensor([2.0, 1.0, -5.0])})
    # a negative threshold lets no negative value through
    torch.testing.assert_close(_dense(active, (2, 3)), torch.tensor([[0.0, 2.0, 0.0], [3.0, 0.0, 0.1]]))


def test_gate_and_magnitude_decide_apart():
    pre = torch.tensor([[1.0, 2.0, -1.0], [3.0, 0.5, 0.1]])
    learned = {
        "b_enc": torch.tensor([1.0, 0.0, 0.0]),
        "r_mag": torch.tensor([0.0, 2.0, 0.0]).log1p(),
        "b_mag": torch.tensor([0.5, 0.0, -0.2]),
    }
    codes = _dense(make_architecture("gated", 1, 3).infer(pre, learned), (2, 3))
    torch.testing.assert_close(codes, torch.tensor([[0.5, 6.0, 0.0], [2.5, 1.5, 0.0]]))


def test_prefixes_grow_to_the_whole_dictionary():
    assert make_architecture("matryoshka", 4, 1024).prefixes == (64, 128, 256, 1024)
    assert make_architecture("matryoshka", 1, 5).prefixes == (1, 5)
    assert make_architecture("topk", 4, 1024).prefixes == (1024,)


def test_registry_has_every_architecture():
    assert set(ARCHITECTURES) == set(_defaults.ARCHITECTURES)
