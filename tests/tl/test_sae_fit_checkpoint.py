from __future__ import annotations

import signal
import subprocess
import sys
import time

import anndata as ad
import numpy as np
import pytest
from safetensors.numpy import save_file

import saescape as sae
from saescape.sae import _checkpoint
from saescape.sae._defaults import ARCHITECTURES
from saescape.sae._trainer import Trainer

# a hundred steps are enough to compare runs, not to tune a penalty
pytestmark = pytest.mark.filterwarnings("ignore:.*(features are|has not converged)")
SETTINGS = {"use_rep": "X_rep", "k": 3, "max_epochs": 20, "batch_size": 64, "show_progress_bar": False}


@pytest.fixture
def adata():
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(400, 24)) * (rng.random((400, 24)) < 0.1)
    x = codes @ rng.normal(size=(24, 10)) + 0.05 * rng.normal(size=(400, 10))
    return ad.AnnData(obsm={"X_rep": x.astype(np.float32)}, obs={"i": np.arange(400)})


def _result(adata, **kwargs):
    out = sae.tl.sae_fit(adata, 32, **(SETTINGS | kwargs), copy=True)
    return out.uns["sae"], out.obsm["X_sae"]


def _assert_equal(one, two):
    assert set(one[0]["weights"]) == set(two[0]["weights"])
    for name, array in one[0]["weights"].items():
        np.testing.assert_array_equal(array, two[0]["weights"][name])
    assert one[0]["history"].equals(two[0]["history"])
    assert one[0]["metrics"] == two[0]["metrics"]
    assert (one[1] != two[1]).nnz == 0


def _interrupt(monkeypatch, step):
    """Let training stop with a signal at a step, and write the state after every log."""
    plain = Trainer.step

    def stopping(self, x):
        if self.t == step:
            raise KeyboardInterrupt
        return plain(self, x)

    monkeypatch.setattr(Trainer, "step", stopping)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_interrupted_run_ends_as_if_it_had_not_been(architecture, adata, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "INTERVAL", 0.0)
    expected = _result(adata, architecture=architecture)
    path = tmp_path / "run.safetensors"
    for step in (30, 77):
        with monkeypatch.context() as patch:
            _interrupt(patch, step)
            with pytest.raises(KeyboardInterrupt):
                _result(adata, architecture=architecture, checkpoint=path)
    _assert_equal(_result(adata, architecture=architecture, checkpoint=path), expected)
    # a finished run is not trained again
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", None)
        _assert_equal(_result(adata, architecture=architecture, checkpoint=path), expected)
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


def test_fresh_entropy_is_continued_too(adata, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "INTERVAL", 0.0)
    path = tmp_path / "run.safetensors"
    _interrupt(monkeypatch, 40)
    with pytest.raises(KeyboardInterrupt):
        _result(adata, rng=None, checkpoint=path)
    monkeypatch.undo()
    first = _result(adata, rng=None, checkpoint=path)
    _assert_equal(_result(adata, rng=None, checkpoint=path), first)
    assert not np.array_equal(_result(adata, rng=None)[0]["weights"]["W_enc"], first[0]["weights"]["W_enc"])


SCRIPT = """
import sys
import anndata as ad, numpy as np, torch
import saescape as sae
from saescape.sae import _checkpoint
torch.set_num_threads(1)
_checkpoint.INTERVAL = 0.0
adata = ad.AnnData(obsm={"X_rep": np.load(sys.argv[1])})
sae.tl.sae_fit(adata, 32, use_rep="X_rep", k=3, max_epochs=400, batch_size=64, show_progress_bar=False,
               checkpoint=sys.argv[2])
np.save(sys.argv[3], adata.uns["sae"]["weights"]["W_enc"])
"""


def test_a_killed_process_goes_on_to_the_same_weights(adata, tmp_path):
    data, whole, resumed = tmp_path / "x.npy", tmp_path / "whole.npy", tmp_path / "resumed.npy"
    np.save(data, adata.obsm["X_rep"])
    command = [sys.executable, "-c", SCRIPT, str(data)]
    subprocess.run([*command, str(tmp_path / "a.safetensors"), str(whole)], check=True)

    path = tmp_path / "b.safetensors"
    process = subprocess.Popen([*command, str(path), str(resumed)])
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert path.exists()
    assert not resumed.exists()
    subprocess.run([*command, str(path), str(resumed)], check=True)
    np.testing.assert_array_equal(np.load(resumed), np.load(whole))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"k": 4}, r"belongs to another run: `k` was 3"),
        ({"rng": 1}, r"belongs to another run: `rng` was different"),
        ({"architecture": "relu"}, r"`architecture` was 'topk'"),
        ({"max_epochs": 30}, r"`n_steps` was 113"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(change, match, adata, tmp_path):
    path = tmp_path / "run.safetensors"
    _result(adata, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=match):
        sae.tl.sae_fit(adata, 32, **(SETTINGS | change), checkpoint=path)
    assert path.read_bytes() == before
    assert "sae" not in adata.uns


def test_a_checkpoint_of_other_data_is_refused(adata, tmp_path):
    path = tmp_path / "run.safetensors"
    _result(adata, checkpoint=path)
    adata.obsm["X_rep"] = adata.obsm["X_rep"] * 1.01
    with pytest.raises(ValueError, match="belongs to another run: .*`variance` was different.*same data and settings"):
        _result(adata, checkpoint=path)


def test_files_that_are_no_checkpoint(adata, tmp_path):
    garbage, model, truncated, newer = (tmp_path / f"{name}.safetensors" for name in ("g", "m", "t", "n"))
    garbage.write_bytes(b"not a checkpoint at all")
    save_file({"W_enc": np.ones((2, 3))}, model)
    _result(adata, checkpoint=truncated)
    truncated.write_bytes(truncated.read_bytes()[:-1000])
    save_file({"W_enc": np.ones((2, 3))}, newer, metadata={"saescape_checkpoint": '{"format": 99}'})
    for path, match in [
        (garbage, "cannot be read as a checkpoint"),
        (truncated, "cannot be read as a checkpoint.*delete it to start anew"),
        (model, "is not a checkpoint of a training run"),
        (newer, "has format 99"),
    ]:
        with pytest.raises(ValueError, match=match):
            _result(adata, checkpoint=path)


def test_divergence_keeps_the_last_good_state(adata, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "INTERVAL", 0.0)
    expected = _result(adata)
    path = tmp_path / "run.safetensors"
    plain = Trainer.step

    def failing(self, x):
        return plain(self, x * np.inf if self.t == 50 else x)

    monkeypatch.setattr(Trainer, "step", failing)
    with pytest.raises(ValueError, match=r"Training diverged.*The state before that is in '.*run.safetensors'"):
        _result(adata, checkpoint=path)
    monkeypatch.undo()
    _assert_equal(_result(adata, checkpoint=path), expected)
