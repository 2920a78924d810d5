from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from saescape.imaging._encode import encode_batches, rebatch
from saescape.imaging.encoders._evaluating import evaluating
from saescape.models import ImageEncoder

CROPS = np.random.default_rng(0).random((7, 2, 8, 8), dtype=np.float32)
CPU = torch.device("cpu")


def batches(size=3):
    return [(np.arange(i, min(i + size, 7)), CROPS[i : i + size]) for i in range(0, 7, size)]


def encode(encoder, *, pool="mean", keep_tokens=False, size=3):
    return encode_batches(encoder, batches(size), pool=pool, keep_tokens=keep_tokens, device=CPU)


def batch_norm_net():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Sequential(torch.nn.Dropout(0.5))
    )
    net[1].eval()
    return net


def test_maps_are_pooled_and_kept_in_row_major_order():
    found = encode(lambda x: torch.cat([x, -x], 1)[:, :, ::4, ::2], keep_tokens=True)
    maps = np.concatenate([CROPS, -CROPS], 1)[:, :, ::4, ::2]
    assert found.grid == (2, 4)
    np.testing.assert_array_equal(found.tokens, maps.reshape(7, 4, 8).transpose(0, 2, 1))
    np.testing.assert_allclose(found.pooled, maps.mean((2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(encode(lambda x: x, pool="max").pooled, CROPS.max((2, 3)))


def test_rows_come_in_the_order_given():
    found = encode_batches(lambda x: x.mean((2, 3)), batches()[::-1], pool="mean", keep_tokens=False, device=CPU)
    assert found.rows.tolist() == [6, 3, 4, 5, 0, 1, 2]
    np.testing.assert_allclose(found.pooled, CROPS[found.rows].mean((2, 3)), rtol=1e-6)


def test_vectors_and_numpy_callables():
    found = encode(lambda x: x.numpy().mean((2, 3)))
    assert found.grid is None
    np.testing.assert_allclose(found.pooled, CROPS.mean((2, 3)))


@pytest.mark.parametrize("wrap", [lambda net: net, ImageEncoder])
def test_module_is_evaluated_and_left_as_found(wrap):
    net = batch_norm_net()
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    one, other = encode(wrap(net), size=3), encode(wrap(net), size=7)
    np.testing.assert_allclose(one.pooled, other.pooled, rtol=1e-5, atol=1e-6)
    assert [part.training for part in net.modules()] == [True, True, False, True, True]
    assert all(bool((net.state_dict()[name] == value).all()) for name, value in weights.items())
    assert net(torch.from_numpy(CROPS)).requires_grad


def test_evaluation_mode_lasts_until_the_last_user_leaves():
    net = batch_norm_net()
    with evaluating(net, CPU):
        encode(net)
        with pytest.raises(ZeroDivisionError), evaluating(ImageEncoder(net), CPU):
            raise ZeroDivisionError
        assert not net.training
        assert not net[2].training
    assert net.training
    assert not net[1].training


def test_threads_share_a_module():
    net = batch_norm_net()
    expected = encode(net).pooled
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: encode(ImageEncoder(net, layer="1")).pooled, range(16)))
    assert all(np.allclose(one, expected, atol=1e-6) for one in found)
    assert net.training


@pytest.mark.parametrize(
    ("encoder", "error", "match"),
    [
        (lambda x: x[:, 0], ValueError, r"must return \(n, d\) or maps .* found shape \(3, 8, 8\)"),
        (lambda x: x[:1].mean((2, 3)), ValueError, "n = 3"),
        (lambda x: x[:, :0].mean((2, 3)), ValueError, "returned nothing"),
        (lambda x: x * float("nan"), ValueError, "384 non-finite"),
        (lambda x: x / 0, ValueError, "non-finite"),
        (lambda x: "a", TypeError, "found str"),
        (lambda x: x - x.mean(0), ValueError, "another result for a crop alone"),
        (torch.nn.BatchNorm2d(2, track_running_stats=False), ValueError, "another result for a crop alone"),
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


def test_a_single_first_crop_does_not_hide_that_batches_matter():
    pieces = [(np.arange(1), CROPS[:1]), (np.arange(1, 7), CROPS[1:])]
    with pytest.raises(ValueError, match="another result"):
        encode_batches(lambda x: x - x.mean(0), pieces, pool="mean", keep_tokens=False, device=CPU)


def test_results_of_one_layout():
    with pytest.raises(ValueError, match=r"returns maps \(n, d, h, w\), found \(n, 2\); .* choose a `layer`"):
        encode(lambda x: x.mean((2, 3)), keep_tokens=True)
    pieces = [(np.array([0]), CROPS[:1]), (np.array([1]), CROPS[:1, :, :4])]
    with pytest.raises(ValueError, match=r"needs maps of one size; `encoder` returned \(4, 8\) after \(8, 8\)"):
        encode_batches(lambda x: x, pieces, pool="mean", keep_tokens=True, device=CPU)
    assert len(encode_batches(lambda x: x, pieces, pool="mean", keep_tokens=False, device=CPU).pooled) == 2
    with pytest.raises(ValueError, match=r"returned \(32,\) after \(64,\) for earlier crops"):
        encode_batches(lambda x: x[:, 0].flatten(1), pieces, pool="mean", keep_tokens=False, device=CPU)
    with pytest.raises(ValueError, match="no crops"):
        encode_batches(lambda x: x, [], pool="mean", keep_tokens=False, device=CPU)


def test_batches_are_halved_when_memory_runs_out(monkeypatch):
    sizes, said = [], []
    monkeypatch.setattr("saescape._logging.logg.warning", lambda text, **_: said.append(text))

    def greedy(x):
        sizes.append(len(x))
        if len(x) > 3:
            raise torch.OutOfMemoryError
        return x.mean((2, 3))

    found = encode(greedy, size=7)
    np.testing.assert_allclose(found.pooled, CROPS.mean((2, 3)), rtol=1e-6)
    assert found.rows.tolist() == list(range(7))
    # the second 1 is the comparison with a crop alone
    assert sizes == [7, 3, 1, 3, 1]
    assert said == ["out of memory on cpu: going on with batches of 3 crops"]


def test_one_crop_must_fit():
    def hungry(x):
        raise torch.OutOfMemoryError

    with pytest.raises(MemoryError, match=r"single crop of shape \(2, 8, 8\)"):
        encode(hungry)


def test_rebatch_joins_pieces_of_one_shape():
    pieces = [(np.array([i]), np.full((1, 1, 2 + (i > 4), 2), i)) for i in range(7)]
    found = list(rebatch(pieces, 3))
    assert [rows.tolist() for rows, _ in found] == [[0, 1, 2], [3, 4], [5, 6]]
    assert found[1][1][:, 0, 0, 0].tolist() == [3, 4]
