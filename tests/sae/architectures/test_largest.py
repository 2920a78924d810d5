from __future__ import annotations

import pytest
import torch

from saescape.sae.architectures._largest import above_positions, largest, topk_rows


@pytest.mark.parametrize(("m", "k"), [(50, 4), (4, 4), (512, 16), (512, 8), (1024, 3), (1030, 3), (640, 10)])
def test_topk_rows_is_exact(m, k):
    pre = torch.randn(30, m, generator=torch.Generator().manual_seed(m))
    values, cols = topk_rows(pre, k)
    expected = pre.topk(k, -1)
    assert torch.equal(cols, expected.indices.sort(1).values)
    torch.testing.assert_close(pre.gather(1, cols), values)


def test_topk_rows_when_winners_share_a_group():
    pre = torch.zeros(2, 1024)
    pre[:, 100:105] = torch.arange(5.0) + 1
    assert topk_rows(pre, 5)[1][0].tolist() == [100, 101, 102, 103, 104]


@pytest.mark.parametrize("m", [20, 1024])
def test_topk_rows_of_equal_values(m):
    pre = torch.ones(3, m)
    pre[1, 7] = 2.0
    values, cols = topk_rows(pre, 5)
    assert (cols.diff(dim=1) > 0).all()
    torch.testing.assert_close(pre.gather(1, cols), values)
    assert values[1].max() == 2


@pytest.mark.parametrize("guess", [None, -1.0, 0.5, 1.2, 3.0])
def test_largest_of_a_vector(guess):
    values = torch.randn(500, generator=torch.Generator().manual_seed(0))
    positions, lowest = largest(values, 60, guess)
    expected = values.topk(60)
    assert torch.equal(positions, expected.indices.sort().values)
    assert lowest == float(expected.values.min())


def test_largest_of_equal_values():
    values = torch.tensor([1.0, 3.0, 1.0, 1.0, 2.0, 1.0])
    positions, lowest = largest(values, 4)
    assert positions.tolist() == [0, 1, 2, 4]
    assert lowest == 1.0
    assert largest(values, 6)[0].tolist() == list(range(6))


def test_above_a_number_or_one_number_per_column():
    pre = torch.tensor([[1.0, 2.0, -1.0], [3.0, 0.5, 0.1]])
    assert above_positions(pre, 0.5).tolist() == [0, 1, 3]
    assert above_positions(pre, torch.tensor([2.0, 0.4, 0.0])).tolist() == [1, 3, 4, 5]
