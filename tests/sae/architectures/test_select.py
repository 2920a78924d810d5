from __future__ import annotations

import pytest
import torch

from saescape.sae._defaults import ARCHITECTURES
from saescape.sae._selection import SELECTORS, BatchTopK, make_selector, topk_rows


def _dense(active, shape):
    out = torch.zeros(shape)
    out[active.rows, active.cols] = active.values
    return out


@pytest.mark.parametrize(("m", "k"), [(50, 4), (512, 16), (512, 8), (1024, 3), (1030, 3), (640, 10)])
def test_topk_rows_is_exact(m, k):
    pre = torch.randn(30, m, generator=torch.Generator().manual_seed(m))
    values, cols = topk_rows(pre, k)
    expected = pre.topk(k, -1).values
    torch.testing.assert_close(values.sort(1, descending=True).values, expected)
    torch.testing.assert_close(pre.gather(1, cols), values)


def test_topk_rows_when_winners_share_a_group():
    pre = torch.zeros(2, 1024)
    pre[:, 100:105] = torch.arange(5.0) + 1
    assert set(topk_rows(pre, 5)[1][0].tolist()) == set(range(100, 105))


def test_batch_topk_keeps_the_largest_of_the_batch_whatever_the_warm_start():
    generator = torch.Generator().manual_seed(1)
    selector = BatchTopK(5)
    for scale in (1.0, 1.1, 0.2, 5.0, -1.0):
        # a jump of the scale makes the warm start miss on either side
        pre = scale * torch.randn(40, 70, generator=generator) if scale > 0 else -torch.rand(40, 70) - 1
        active = selector.select(pre)
        lowest = pre.flatten().topk(200).values.min()
        torch.testing.assert_close(_dense(active, pre.shape), torch.where(pre >= lowest, pre, 0.0))
        assert int(active.ptr[-1]) == 200
        assert torch.equal(active.ptr.diff(), torch.bincount(active.rows, minlength=40))


def test_threshold_of_each_feature_decides_at_inference():
    pre = torch.tensor([[1.0, 2.0, -1.0], [3.0, 0.5, 0.1]])
    active = make_selector("batchtopk", 1).infer(pre, torch.tensor([2.0, 1.0, -5.0]))
    # a negative threshold lets no negative value through
    torch.testing.assert_close(_dense(active, (2, 3)), torch.tensor([[0.0, 2.0, 0.0], [3.0, 0.0, 0.1]]))


def test_registry_has_every_architecture():
    assert tuple(SELECTORS) == ARCHITECTURES
