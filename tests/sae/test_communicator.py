from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from saescape._rows import RowSource
from saescape.sae._communicator import ALONE, Communicator
from saescape.sae._data import TrainingRows
from saescape.sae._defaults import ARCHITECTURES, make_plan
from saescape.sae._parameters import Standardizer
from saescape.sae._start import make_trainer
from saescape.sae.architectures._shared_selection import largest_of_all

CPU = torch.device("cpu")


class Threads(Communicator):
    """Threads of one process in place of processes."""

    def __init__(self, rank, world_size, barrier, slots):
        self.rank, self.world_size = rank, world_size
        self._barrier, self._slots = barrier, slots

    def gather(self, tensor):
        self._slots[self.rank] = tensor.clone()
        self._barrier.wait()
        out = torch.stack(self._slots)
        self._barrier.wait()
        return out

    def sum(self, tensor):
        return self.gather(tensor).sum(0)

    def share(self, value):
        if self.rank == 0:
            self._slots[0] = value
        self._barrier.wait()
        value = copy.deepcopy(self._slots[0])
        self._barrier.wait()
        return value


def _together(function, n):
    """Results of ``function(communicator)`` of each of `n` threads; one that fails or hangs fails all."""
    barrier, slots = threading.Barrier(n, timeout=60), [None] * n

    def run(rank):
        try:
            return function(Threads(rank, n, barrier, slots))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(run, range(n)))


def test_alone_nothing_is_copied():
    tensor = torch.arange(3.0)
    assert ALONE.sum(tensor) is tensor
    assert ALONE.gather(tensor).data_ptr() == tensor.data_ptr()
    assert ALONE.share(tensor) is tensor
    assert (ALONE.rank, ALONE.world_size, ALONE.device) == (0, 1, None)


def _train(communicator, architecture, n_steps, batch_size):
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(500, 30)) * (rng.random((500, 30)) < 0.1)
    x = (codes @ rng.normal(size=(30, 12)) + 0.05 * rng.normal(size=(500, 12))).astype(np.float32)
    rows = RowSource(x)
    # features count as dead after a single batch, so that the auxiliary loss takes part
    plan = make_plan(500, 12, architecture=architecture, n_features=48, k=3, batch_size=batch_size)
    plan = replace(plan, dead_window=batch_size)
    standardizer = Standardizer("center", *rows.moments())
    data = TrainingRows(rows, np.zeros(500, dtype=bool), CPU)
    trainer = make_trainer(data, plan, standardizer, np.random.default_rng(1), communicator=communicator)
    mean, inverse = standardizer.tensors(CPU)
    batches = data.batches(batch_size, 7, rank=communicator.rank, world_size=communicator.world_size)
    steps = [trainer.step((next(batches) - mean) * inverse) for _ in range(n_steps)]
    reported = [(float(s.loss), float(s.n_active), s.n_dead) for s in steps]
    error = trainer.squared_error(torch.from_numpy(x[:101]))
    return {name: t.clone() for name, t in trainer.tensors().items()}, np.array(reported), error


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shared_batches_give_the_steps_of_whole_ones(architecture):
    # parts of 34, 33 and 33 rows
    expected, reported, error = _train(ALONE, architecture, 30, 100)
    assert reported[:, 2].max() > 0
    results = _together(lambda communicator: _train(communicator, architecture, 30, 100), 3)
    for state, other, other_error in results:
        np.testing.assert_allclose(other, reported, rtol=1e-5)
        assert other_error == pytest.approx(error, rel=1e-5)
        for name, tensor in expected.items():
            torch.testing.assert_close(
                state[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}"
            )
    for state, *_ in results[1:]:
        assert all(torch.equal(tensor, results[0][0][name]) for name, tensor in state.items())


def test_processes_start_from_the_first_ones_parameters():
    def start(communicator):
        rows = RowSource(np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32))
        data = TrainingRows(rows, np.zeros(100, dtype=bool), CPU)
        own = np.random.default_rng(communicator.rank)
        plan, standardizer = make_plan(100, 8, n_features=16, k=2), Standardizer("center", *rows.moments())
        return make_trainer(data, plan, standardizer, own, communicator=communicator).parameters.encoder

    first, second = _together(start, 2)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("parts", "n_keep"),
    [
        ([[3.0, 9.0, 1.0, 4.0], [8.0, 2.0, 7.0, 0.0]], 3),
        # one process has all of the largest values, and one fewer than are sent
        ([[float(i) for i in range(20)], [-5.0, -6.0], [-1.0] * 9], 15),
        # ties across the cut
        ([[1.0] * 6, [1.0] * 6, [2.0, 1.0]], 7),
        # all of them
        ([[1.0, -3.0], [0.0]], 3),
    ],
)
def test_the_largest_of_all_are_those_of_the_concatenation(parts, n_keep):
    parts = [torch.tensor(part) for part in parts]

    def select(communicator):
        values = parts[communicator.rank]
        return largest_of_all(values, lambda n: values.topk(n).indices, n_keep, communicator)

    results = _together(select, len(parts))
    kept = torch.cat([part[where] for part, (where, _) in zip(parts, results, strict=True)])
    expected = torch.cat(parts).topk(n_keep).values
    assert all(len(where.unique()) == len(where) for where, _ in results)
    assert torch.equal(kept.sort(descending=True).values, expected)
    assert {lowest for _, lowest in results} == {float(expected[-1])}
