from __future__ import annotations

import multiprocessing
import pickle
import sys
from types import SimpleNamespace

import pytest
import torch

from saescape.sae import _launch, _spawn
from saescape.sae._communicator import ALONE
from saescape.sae._launch import Processes, find_processes

CPU = torch.device("cpu")


@pytest.fixture
def environment(monkeypatch):
    variables = {}
    monkeypatch.setattr(_launch, "os", SimpleNamespace(environ=variables))
    monkeypatch.setattr(_launch, "find_spec", lambda name: name)
    return variables


def test_one_device_needs_nobody(environment):
    environment |= {"RANK": "1", "WORLD_SIZE": "4"}
    processes = find_processes(1, 1, CPU)
    assert processes == Processes(1, 1, None)
    assert processes.to_spawn == 1
    assert processes.connect(CPU) is ALONE


def test_processes_are_spawned_without_a_launcher(environment):
    # of a batch script: one task, whatever was allocated
    environment |= {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}
    assert find_processes(3, 1, CPU).to_spawn == 3


@pytest.mark.parametrize(
    ("variables", "starter"),
    [({"RANK": "0", "WORLD_SIZE": "4"}, "torchrun"), ({"SLURM_STEP_NUM_TASKS": "4"}, "srun")],
)
def test_processes_of_a_launcher_are_used(variables, starter, environment):
    environment |= variables
    processes = find_processes(2, 2, CPU)
    assert (processes.starter, processes.n, processes.to_spawn) == (starter, 4, 1)
    with pytest.raises(ValueError, match=f"`devices=3` on `num_nodes=1` are 3 processes, but {starter} has started 4"):
        find_processes(3, 1, CPU)


def test_several_machines_need_a_launcher(environment):
    with pytest.raises(ValueError, match=r"`num_nodes=2` needs.*torchrun --nnodes 2 --nproc-per-node 2 .*srun"):
        find_processes(2, 2, CPU)


def test_devices_have_to_exist(environment, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_processes(2, 1, torch.device("cuda")).to_spawn == 2
    with pytest.raises(ValueError, match="`devices=3` is more than the 2 CUDA devices"):
        find_processes(3, 1, torch.device("cuda"))
    with pytest.raises(ValueError, match="`device='cuda:1'` is a single one; with `devices=2` give `device='cuda'`"):
        find_processes(2, 1, torch.device("cuda:1"))
    with pytest.raises(ValueError, match=r"`devices=2` is possible on 'cpu' and 'cuda', found `device='mps'`"):
        find_processes(2, 1, torch.device("mps"))


def test_every_process_needs_rows():
    Processes(4).check_batch_size(4)
    with pytest.raises(ValueError, match="4 processes cannot share batches of 3 rows"):
        Processes(4).check_batch_size(3)


def test_what_cannot_be_sent_is_said_before_anything_starts(monkeypatch):
    monkeypatch.setattr(_spawn, "_free_port", lambda: 1)
    with pytest.raises(ValueError, match=r"`devices=2` starts .*torchrun --nproc-per-node 2 script.py"):
        _spawn.spawn(lambda communicator: communicator, 2, "cpu")
    assert sys.modules["__main__"].__name__ == "__main__"


def _channels(n):
    return zip(*(multiprocessing.Pipe(duplex=False) for _ in range(n)), strict=True)


def test_the_result_is_the_first_processs():
    receivers, senders = _channels(2)
    senders[1].send_bytes(pickle.dumps((None, "other", "")))
    senders[0].send_bytes(pickle.dumps((None, "first", "")))
    assert _spawn._receive(list(receivers), [None, None]) == "first"


def test_errors_of_processes_are_raised_again():
    receivers, senders = _channels(2)
    senders[1].send_bytes(pickle.dumps((ValueError, "went wrong", "trace")))
    with pytest.raises(ValueError, match="went wrong") as info:
        _spawn._receive(list(receivers), [None, None])
    assert info.value.__notes__ == ["In process 1 of 2:\ntrace"]


def test_a_killed_process_is_noticed():
    receivers, senders = _channels(2)
    senders[1].close()
    killed = SimpleNamespace(exitcode=-9, join=lambda: None)
    with pytest.raises(RuntimeError, match=r"Process 1 of 2 was ended from outside \(exit code -9\)"):
        _spawn._receive(list(receivers), [None, killed])
