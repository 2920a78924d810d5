from __future__ import annotations

from itertools import islice

import dask.array as da
import numpy as np
import pytest
import torch
from scipy import sparse

from saescape._rows import RowSource
from saescape.sae import _batches
from saescape.sae._data import TrainingRows, hold_out_observations

CPU = torch.device("cpu")


def _numbered(n=200, p=None):
    """Each row holds its own number, so that it can be found again."""
    shape = (n, 3) if p is None else (n, p, 3)
    n_rows = n * (p or 1)
    return np.repeat(np.arange(n_rows, dtype=np.float32), 3).reshape(shape)


@pytest.mark.parametrize(("kind", "p"), [("memory", None), ("memory", 4), ("dask", None), ("dask", 4), ("csr", None)])
def test_a_pass_has_every_training_row_once_and_no_other(kind, p, monkeypatch):
    monkeypatch.setattr(_batches, "_SPAN_BYTES", 12 * 5 * (p or 1))
    monkeypatch.setattr(_batches, "_BUFFER_BYTES", 12 * 70 * (p or 1))
    x = _numbered(p=p)
    held_out = hold_out_observations(200, p or 1, 3, np.random.default_rng(0))
    lazy = {"memory": x, "dask": da.from_array(x, chunks=30), "csr": sparse.csr_matrix(x) if p is None else None}
    data = TrainingRows(RowSource(lazy[kind]), held_out, CPU, max_bytes=10**9 if kind == "memory" else 0)
    assert (data._tensor is not None) == (kind == "memory")
    batch = 12
    rng = np.random.default_rng(1)
    n_batches = data.n_train // batch
    first = torch.cat(list(islice(data.batches(batch, rng), n_batches)))[:, 0].numpy().astype(int)
    assert len(np.unique(first)) == n_batches * batch
    assert not held_out[first // (p or 1)].any()
    # neighbours do not stay together
    assert np.mean(np.abs(np.diff(first)) <= 1) < 0.2
    kept = data.held_out_sample(10**6, rng)[:, 0].numpy().astype(int)
    np.testing.assert_array_equal(np.unique(kept // (p or 1)), np.flatnonzero(held_out))


@pytest.mark.parametrize("p", [None, 4])
def test_sample_is_without_replacement(p):
    held_out = hold_out_observations(200, p or 1, 3, np.random.default_rng(0))
    data = TrainingRows(RowSource(_numbered(p=p)), held_out, CPU)
    rows = data.sample(100, np.random.default_rng(0))[:, 0].numpy().astype(int)
    assert len(np.unique(rows)) == 100
    assert not held_out[rows // (p or 1)].any()
    assert len(data.sample(10**6, np.random.default_rng(0))) == data.n_train


def test_a_large_dense_array_is_used_in_place():
    x = _numbered()
    data = TrainingRows(RowSource(x), np.zeros(200, dtype=bool), CPU, max_bytes=0)
    assert np.shares_memory(data._tensor.numpy(), x)


def test_hold_out_sizes():
    rng = np.random.default_rng(0)
    assert hold_out_observations(500, 1, 5, rng).sum() == 50
    assert hold_out_observations(10, 1, 5, rng).sum() == 2
    assert hold_out_observations(10, 4, 5, rng).sum() == 1
    assert hold_out_observations(10**6, 1, 5, rng).sum() == 20_000
    assert hold_out_observations(10**5, 100, 5, rng).sum() == 200


def test_whole_groups_are_held_out():
    groups = np.repeat(np.arange(6), [100, 5, 100, 40, 60, 80])
    for seed in range(5):
        held_out = hold_out_observations(385, 1, 5, np.random.default_rng(seed), groups)
        assert all(len(np.unique(held_out[groups == g])) == 1 for g in range(6))
        assert 38 <= held_out.sum() < 385
    two = hold_out_observations(10, 1, 5, np.random.default_rng(0), np.repeat([0, 1], 5))
    assert two.sum() == 5
