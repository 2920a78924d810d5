from __future__ import annotations

import json
from itertools import islice

import dask.array as da
import h5py
import numpy as np
import pytest
import torch
from scipy import sparse

from saescape._rows import RowSource
from saescape.sae import _batches
from saescape.sae._data import TrainingRows, hold_out_observations

CPU = torch.device("cpu")
KINDS = ["memory", "csr", "float64", "float64 tokens", "h5py", "h5py tokens", "dask", "dask csr"]


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Training rows that each hold their own number, in small buffers."""
    monkeypatch.setattr(_batches, "_SPAN_BYTES", 240)
    monkeypatch.setattr(_batches, "_BUFFER_BYTES", 12 * 200)

    def make(kind, n=600):
        x = np.repeat(np.arange(1, n + 1, dtype=np.float32), 3).reshape(n, 3)
        if kind.endswith("tokens"):
            x = x.reshape(n // 4, 4, 3)
        path = tmp_path / f"{kind}{n}.h5"
        if not path.exists():
            with h5py.File(path, "w") as file:
                file["x"] = x
        chunked = da.from_array(x, chunks=(50, *x.shape[1:]))
        data = {
            "memory": lambda: x,
            "csr": lambda: sparse.csr_matrix(x),
            "float64": lambda: x.astype(np.float64),
            "h5py": lambda: h5py.File(path)["x"],
            "dask": lambda: chunked,
            "dask csr": lambda: chunked.map_blocks(sparse.csr_matrix),
        }[kind.removesuffix(" tokens")]()
        held_out = hold_out_observations(len(x), n // len(x), 3, np.random.default_rng(0))
        return TrainingRows(RowSource(data), held_out, CPU, max_bytes=10**9 if kind == "memory" else 0)

    return make


def _numbers(batches, n):
    return [batch[:, 0].numpy().astype(int) for batch in islice(batches, n)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_pass_has_every_row_once_and_an_order_of_its_own(kind, make):
    data = make(kind)
    assert data.n_train == 540
    passes = [np.concatenate(_numbers(data.batches(20, 5), 27 * 3))[i * 540 : (i + 1) * 540] for i in range(3)]
    for order in passes:
        np.testing.assert_array_equal(np.sort(order), np.sort(passes[0]))
        assert len(np.unique(order)) == 540
    assert not np.array_equal(passes[0], passes[1])
    assert not np.array_equal(passes[1], passes[2])


@pytest.mark.parametrize("batch_size", [20, 33, 350])
@pytest.mark.parametrize("kind", KINDS)
def test_going_on_from_a_state(kind, batch_size, make):
    data = make(kind)
    per_pass = 540 // batch_size
    n = 3 * per_pass
    through = _numbers(data.batches(batch_size, np.random.default_rng(3)), n)
    for taken in {0, 1, per_pass - 1, per_pass, per_pass + 1, 2 * per_pass + per_pass // 2}:
        batches = data.batches(batch_size, np.random.default_rng(3))
        _numbers(batches, taken)
        # the state outlives the process as text
        state = json.loads(json.dumps(batches.state()))
        resumed = _numbers(make(kind).batches(batch_size, state=state), n - taken)
        for one, other in zip(through[taken:], resumed, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_processes_share_each_batch(kind, make):
    data = make(kind)
    whole = _numbers(data.batches(33, 1), 40)
    parts = [_numbers(data.batches(33, 1, rank=rank, world_size=4), 40) for rank in range(4)]
    for i, batch in enumerate(whole):
        for rank in range(4):
            np.testing.assert_array_equal(parts[rank][i], batch[rank::4])


def test_nothing_is_read_for_batches_already_taken(make):
    data = make("h5py")
    batches = data.batches(20, 0)
    _numbers(batches, 20)
    reads = []
    read = data.source.read
    data.source.read = lambda low, high, **options: reads.append(high - low) or read(low, high, **options)
    expected = _numbers(batches, 7)
    n_rest_of_pass = sum(reads)
    reads.clear()
    resumed = data.batches(20, state=batches.state() | {"n_passes": 0, "n_batches": 20})
    for one, other in zip(expected, _numbers(resumed, 7), strict=True):
        np.testing.assert_array_equal(one, other)
    # the buffer in which it stopped, and those after it
    assert n_rest_of_pass <= sum(reads) < 0.6 * 600


def test_a_foreign_state_is_refused(make):
    state = make("memory").batches(20, 0).state()
    with pytest.raises(ValueError, match="`batch_size` was 20 and is 30"):
        make("memory").batches(30, state=state)
    with pytest.raises(ValueError, match="`n_rows` was 540 and is 270"):
        make("memory", 300).batches(20, state=state)
    with pytest.raises(ValueError, match="`in_buffers` was 0 and is 1"):
        make("h5py").batches(20, state=state)
    with pytest.raises(ValueError, match="`batch_size` .541. is larger than the number of training rows .540."):
        make("memory").batches(541, 0)


def test_rows_sorted_by_class_are_mixed(tmp_path, monkeypatch):
    """Ten classes one after the other in a file: batches look like batches of a full shuffle."""
    # all sizes a quarter of the real ones
    monkeypatch.setattr(_batches, "_SPAN_BYTES", _batches._SPAN_BYTES // 4)
    monkeypatch.setattr(_batches, "_BUFFER_BYTES", _batches._BUFFER_BYTES // 4)
    n, d, n_classes, size = 75_000, 256, 10, 1_000
    with h5py.File(tmp_path / "x.h5", "w") as file:
        array = file.create_dataset("x", (n, d), dtype=np.uint8)
        for label in range(n_classes):
            array[label * n // n_classes : (label + 1) * n // n_classes] = label
        data = TrainingRows(RowSource(array), np.zeros(n, dtype=bool), CPU, max_bytes=0)
        # more than one buffer, or there is nothing to show
        assert data._order._n_buffers >= 3
        counts = [
            np.bincount(batch[:, 0].numpy().astype(int), minlength=n_classes)
            for batch in islice(data.batches(size, 0), n // size)
        ]
    shares = np.array(counts) / size
    np.testing.assert_allclose(shares.mean(0), 0.1)
    # a full shuffle has a standard deviation of 0.0095; a tenth of the classes at a time, of 0.3
    assert shares.std() < 0.04
    assert shares.min() > 0


def test_large_chunks_are_cut_and_small_buffers_evened_out():
    class Large:
        shape, dtype, chunks = (400_000, 1000), np.dtype(np.float32), (100_000, 1000)

    order = _batches.ByBuffers(RowSource(Large()), np.ones(400_000, dtype=bool), CPU)
    lengths = np.diff(order._spans).ravel()
    assert lengths.sum() == 400_000
    assert lengths.max() * 4000 <= _batches._SPAN_LIMIT
    # each chunk begins a span
    assert {0, 100_000, 200_000, 300_000} <= set(order._spans[:, 0].tolist())
    per_buffer = [len(part) for part in np.array_split(lengths, order._n_buffers)]
    assert min(per_buffer) >= _batches._MIN_SPANS
    assert max(per_buffer) * lengths.max() * 4000 <= 2 * _batches._MIN_SPANS * _batches._SPAN_LIMIT


def test_few_columns_of_many_are_read_in_small_spans_and_kept_in_large_buffers():
    class Wide:
        shape, dtype, chunks = (50_000, 30_000), np.dtype(np.float32), None

    columns = np.arange(50)
    order = _batches.ByBuffers(RowSource(Wide(), columns=columns), np.ones(50_000, dtype=bool), CPU)
    assert np.diff(order._spans).max() * 120_000 <= _batches._SPAN_BYTES
    # 10 MiB in all
    assert order._n_buffers == 1
