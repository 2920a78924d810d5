from __future__ import annotations

import os
import socket
import subprocess
import sys

import anndata as ad
import numpy as np
import pytest

import saescape as sae
from saescape.sae import _launch
from saescape.sae._defaults import ARCHITECTURES

TIMEOUT = 300
# few steps: a difference of rounding turns one entry on or off at some time, and runs part from there
SETTINGS = {"n_features": 32, "k": 3, "max_epochs": 8, "batch_size": 65, "device": "cpu", "show_progress_bar": False}
# so little training leaves codes that are warned about
pytestmark = pytest.mark.filterwarnings("ignore:.*features are")
SETTINGS_OF_SMALL = {"k": 2, "max_epochs": 2, "show_progress_bar": False, "device": "cpu"}
COMMON = (
    f"SETTINGS = {SETTINGS!r}\nARCHITECTURES = {list(ARCHITECTURES)!r}\n"
    + """
import sys, warnings
import anndata as ad, numpy as np
import saescape as sae
warnings.simplefilter("ignore")
folder = sys.argv[1]
x = np.load(f"{folder}/x.npy")
"""
)

# without a main guard, as in a script or notebook
SPAWNING = """
adata = ad.AnnData(x)
sae.tl.sae_fit(adata, **SETTINGS, devices=2, checkpoint=f"{folder}/spawned.safetensors")
np.savez(f"{folder}/spawned.npz", **adata.uns["sae"]["weights"])
try:
    sae.tl.sae_fit(adata, **(SETTINGS | {"lr": 1e30}), devices=2, key_added="bad")
except ValueError as error:
    assert "Training diverged" in str(error), error
    assert "In process" in error.__notes__[0]
else:
    raise AssertionError("did not diverge")
assert "bad" not in adata.uns
assert not any(name.startswith("lightning") for name in sys.modules)
"""

# under torchrun every process runs the whole script
STARTED = """
import os
from saescape.sae import _checkpoint
from saescape.sae._trainer import Trainer

rank, arrays = os.environ["RANK"], {}
for architecture in ARCHITECTURES:
    adata = ad.AnnData(x.copy())
    sae.tl.sae_fit(adata, **SETTINGS, architecture=architecture, devices=2)
    entry = adata.uns["sae"]
    arrays |= {f"{architecture}.{name}": array for name, array in entry["weights"].items()}
    arrays |= {f"{architecture}.history.{name}": column for name, column in entry["history"].items()}
    arrays |= {f"{architecture}.codes": adata.obsm["X_sae"].toarray(), f"{architecture}.fvu": entry["metrics"]["fvu"]}

# the entropy of the first process
adata = ad.AnnData(x.copy())
sae.tl.sae_fit(adata, **SETTINGS, devices=2, rng=None)
arrays["entropy"] = adata.uns["sae"]["weights"]["W_enc"]

# interrupted and continued
_checkpoint.INTERVAL = 0.0
plain = Trainer.step
def stopping(self, rows):
    if self.t == 17:
        raise KeyboardInterrupt
    return plain(self, rows)
Trainer.step = stopping
adata, path = ad.AnnData(x.copy()), f"{folder}/started.safetensors"
try:
    sae.tl.sae_fit(adata, **SETTINGS, architecture="batchtopk", devices=2, checkpoint=path)
except KeyboardInterrupt:
    pass
assert "sae" not in adata.uns
Trainer.step = plain
sae.tl.sae_fit(adata, **SETTINGS, architecture="batchtopk", devices=2, checkpoint=path)
arrays["resumed"] = adata.uns["sae"]["weights"]["W_enc"]
np.savez(f"{folder}/rank{rank}.npz", **arrays)
"""


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(400, 40)) * (rng.random((400, 40)) < 0.08)
    return (codes @ rng.normal(size=(40, 16)) + 0.05 * rng.normal(size=(400, 16))).astype(np.float32)


def _start(script, folder, **variables):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | variables
    command = [sys.executable, "-c", COMMON + script, str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(processes):
    try:
        outputs = [process.communicate(timeout=TIMEOUT)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output


@pytest.fixture(scope="module")
def started(x, tmp_path_factory):
    """What each of two processes ends with that were started as torchrun starts them."""
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("started")
    np.save(folder / "x.npy", x)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(one.getsockname()[1])}
    ranks = [{"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"} for rank in ("0", "1")]
    _finish([_start(STARTED, folder, **address, **rank) for rank in ranks])
    return [dict(np.load(folder / f"rank{rank}.npz")) for rank in (0, 1)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_two_processes_give_the_result_of_one(architecture, started, x):
    adata = ad.AnnData(x.copy())
    sae.tl.sae_fit(adata, **SETTINGS, architecture=architecture)
    entry, first = adata.uns["sae"], started[0]
    for name, array in entry["weights"].items():
        np.testing.assert_allclose(first[f"{architecture}.{name}"], array, rtol=1e-4, atol=1e-5, err_msg=name)
    for name, column in entry["history"].items():
        np.testing.assert_allclose(first[f"{architecture}.history.{name}"], column, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(first[f"{architecture}.codes"], adata.obsm["X_sae"].toarray(), rtol=1e-3, atol=1e-3)
    assert first[f"{architecture}.fvu"] == pytest.approx(entry["metrics"]["fvu"], rel=1e-4)


def test_both_processes_end_with_the_same_bits(started):
    first, second = started
    assert set(first) == set(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_processes_continue_from_a_checkpoint(started):
    np.testing.assert_array_equal(started[0]["resumed"], started[0]["batchtopk.W_enc"])


def test_new_processes_give_the_result_of_one(x, tmp_path):
    pytest.importorskip("lightning")
    np.save(tmp_path / "x.npy", x)
    _finish([_start(SPAWNING, tmp_path)])
    adata = ad.AnnData(x.copy())
    sae.tl.sae_fit(adata, **SETTINGS)
    spawned = np.load(tmp_path / "spawned.npz")
    for name, array in adata.uns["sae"]["weights"].items():
        np.testing.assert_allclose(spawned[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
    # the checkpoint of two processes is one of one process, and the run is over
    sae.tl.sae_fit(adata, **SETTINGS, checkpoint=tmp_path / "spawned.safetensors")
    np.testing.assert_array_equal(spawned["W_enc"], adata.uns["sae"]["weights"]["W_enc"])


@pytest.fixture
def alone(monkeypatch):
    """No launcher has started this test."""
    for name in ("RANK", "WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)


def test_lightning_is_named_when_it_is_missing(small, alone, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(ImportError, match=r"`lightning` is needed here; .*saescape\[cluster"):
        sae.tl.sae_fit(small, 32, **SETTINGS_OF_SMALL, devices=2)
    assert "sae" not in small.uns
    # one device needs it not
    sae.tl.sae_fit(small, 32, **SETTINGS_OF_SMALL, devices=1)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"devices": 0}, ValueError, "`devices` must be at least 1, found 0"),
        ({"devices": "auto"}, TypeError, "`devices` must be an integer, found 'auto'"),
        ({"num_nodes": 0}, ValueError, "`num_nodes` must be at least 1, found 0"),
        ({"devices": 2, "num_nodes": 2}, ValueError, "`num_nodes=2` needs .*torchrun"),
        ({"devices": 2, "batch_size": 1}, ValueError, "2 processes cannot share batches of 1 rows"),
    ],
)
def test_bad_numbers_of_devices(arguments, error, match, small, alone, monkeypatch):
    monkeypatch.setattr(_launch, "find_spec", lambda name: name)
    with pytest.raises(error, match=match):
        sae.tl.sae_fit(small, 32, **(SETTINGS_OF_SMALL | arguments))
    assert "sae" not in small.uns


def test_an_open_file_cannot_be_sent(small, alone, monkeypatch, tmp_path):
    monkeypatch.setattr(_launch, "find_spec", lambda name: name)
    small.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(ValueError, match="cannot be sent .*h5py.* torchrun"):
        sae.tl.sae_fit(backed, 32, **SETTINGS_OF_SMALL, devices=2)
    assert "sae" not in backed.uns
