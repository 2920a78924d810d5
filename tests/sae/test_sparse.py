from __future__ import annotations

import pytest
import torch

from saescape.sae import _sparse
from saescape.sae._sparse import bag_embedding, bag_gather, dots_gather, dots_sampled, sparse_ops, transpose_pattern


@pytest.fixture
def pattern():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(13, 17, generator=generator) < 0.3
    mask[4] = False
    rows, cols = mask.nonzero(as_tuple=True)
    ptr = torch.cat([torch.zeros(1, dtype=torch.long), mask.sum(1).cumsum(0)])
    return mask, rows, cols, ptr, generator


@pytest.mark.parametrize("bag", [bag_embedding, bag_gather])
def test_bag_is_a_sparse_product(bag, pattern, monkeypatch):
    monkeypatch.setattr(_sparse, "_GATHER_ELEMENTS", 40)
    mask, rows, cols, ptr, generator = pattern
    table, weights = torch.randn(17, 5, generator=generator), torch.randn(len(cols), generator=generator)
    dense = torch.zeros(mask.shape)
    dense[rows, cols] = weights
    torch.testing.assert_close(bag(cols, table, ptr, weights), dense @ table)


@pytest.mark.parametrize("dots", [dots_sampled, dots_gather])
def test_dots_are_entries_of_the_product(dots, pattern, monkeypatch):
    monkeypatch.setattr(_sparse, "_GATHER_ELEMENTS", 40)
    _, rows, cols, ptr, generator = pattern
    left, right = torch.randn(13, 5, generator=generator), torch.randn(17, 5, generator=generator)
    torch.testing.assert_close(dots(rows, cols, ptr, left, right), (left @ right.T)[rows, cols])


def test_dots_of_nothing():
    empty = torch.zeros(0, dtype=torch.long)
    assert dots_gather(empty, empty, torch.zeros(3, dtype=torch.long), torch.ones(2, 4), torch.ones(3, 4)).shape == (0,)


def test_transpose_pattern(pattern):
    mask, rows, cols, _, _ = pattern
    ptr, permutation = transpose_pattern(cols, 17)
    assert torch.equal(ptr.diff(), mask.sum(0))
    for feature in range(17):
        part = slice(int(ptr[feature]), int(ptr[feature + 1]))
        assert torch.equal(rows[permutation[part]], mask[:, feature].nonzero().view(-1))
        assert (cols[permutation[part]] == feature).all()


def test_device_decides_the_kernels(monkeypatch):
    assert sparse_ops(torch.device("cpu")).bag is bag_embedding
    assert sparse_ops(torch.device("mps")).bag is bag_gather
    assert sparse_ops(torch.device("cuda")).dots is dots_gather
    monkeypatch.setattr(_sparse, "_cpu_has_sampled_product", lambda: False)
    assert sparse_ops(torch.device("cpu")).dots is dots_gather
