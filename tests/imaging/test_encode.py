from __future__ import annotations

import numpy as np
import pytest
import torch

from saescape.imaging import _encode
from saescape.imaging._encode import encode_crops, rebatch

CROPS = np.random.default_rng(0).random((7, 2, 8, 8), dtype=np.float32)
CPU = torch.device("cpu")


def batches(size=3):
    return [(np.arange(i, min(i + size, 7)), CROPS[i : i + size]) for i in range(0, 7, size)]


def encode(encoder, *, pool="mean", keep_tokens=False, size=3):
    return encode_crops(encoder, batches(size), 7, pool=pool, keep_tokens=keep_tokens, device=CPU)


def test_maps_are_pooled_and_kept_in_row_major_order():
    found = encode(lambda x: torch.cat([x, -x], 1)[:, :, ::4, ::2], keep_tokens=True)
    maps = np.concatenate([CROPS, -CROPS], 1)[:, :, ::4, ::2]
    assert found.grid == (2, 4)
    np.testing.assert_array_equal(found.tokens, maps.reshape(7, 4, 8).transpose(0, 2, 1))
    np.testing.assert_allclose(found.pooled, maps.mean((2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(encode(lambda x: x, pool="max").pooled, CROPS.max((2, 3)))


def test_vectors_and_numpy_callables():
    found = encode(lambda x: x.numpy().mean((2, 3)))
    assert found.grid is None
    np.testing.assert_allclose(found.pooled, CROPS.mean((2, 3)))


def test_module_is_evaluated_and_left_as_found():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Sequential(torch.nn.Dropout(0.5))
    )
    net[1].eval()
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    one, other = encode(net, size=3), encode(net, size=7)
    np.testing.assert_allclose(one.pooled, other.pooled, rtol=1e-5, atol=1e-6)
    assert [part.training for part in net.modules()] == [True, True, False, True, True]
    assert all(bool((net.state_dict()[name] == value).all()) for name, value in weights.items())
    assert net(torch.from_numpy(CROPS)).requires_grad


@pytest.mark.parametrize(
    ("encoder", "error", "match"),
    [
        (lambda x: x[:, 0], ValueError, r"must return \(n, d\) or maps .* found shape \(3, 8, 8\)"),
        (lambda x: x[:1].mean((2, 3)), ValueError, "n = 3"),
        (lambda x: x * float("nan"), ValueError, "384 non-finite"),
        (lambda x: "a", TypeError, "found str"),
        (lambda x: x - x.mean(0), ValueError, "another result for a crop alone"),
    ],
)
def test_bad_encoders_fail_at_the_first_batch(encoder, error, match):
    calls = []

    def counted(x):
        calls.append(1)
        return encoder(x)

    with pytest.raises(error, match=match):
        encode(counted)
    assert len(calls) <= 2


def test_tokens_need_maps_of_one_size(monkeypatch):
    with pytest.raises(ValueError, match="needs an encoder that returns maps"):
        encode(lambda x: x.mean((2, 3)), keep_tokens=True)
    pieces = [(np.array([0]), CROPS[:1]), (np.array([1]), CROPS[:1, :, :4])]
    with pytest.raises(ValueError, match="needs maps of one size"):
        encode_crops(lambda x: x, pieces, 2, pool="mean", keep_tokens=True, device=CPU)
    monkeypatch.setattr(_encode, "available_memory", lambda: 100)
    with pytest.raises(MemoryError, match=r"`tokens=True` needs .* GiB are available"):
        encode(lambda x: x, keep_tokens=True)


def test_rebatch_joins_pieces_of_one_shape():
    pieces = [(np.array([i]), np.full((1, 1, 2 + (i > 4), 2), i)) for i in range(7)]
    found = list(rebatch(pieces, 3))
    assert [rows.tolist() for rows, _ in found] == [[0, 1, 2], [3, 4], [5, 6]]
    assert found[1][1][:, 0, 0, 0].tolist() == [3, 4]
