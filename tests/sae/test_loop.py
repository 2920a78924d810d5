"""What a run says while it goes on. Going on from a checkpoint: tests/tl/test_sae_fit_checkpoint.py."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

import saescape as sae
from saescape.sae._loop import check_loss


@pytest.mark.filterwarnings("ignore::saescape._warnings.ConvergenceWarning")
def test_progress_ends_with_what_the_history_says(small, capsys):
    sae.tl.sae_fit(small, 32, k=2, max_epochs=20)
    shown = capsys.readouterr().err
    last, n_steps = small.uns["sae"]["history"].iloc[-1], small.uns["sae"]["params"]["n_steps"]
    fvu, l0, dead = re.findall(r"FVU (\d\.\d{3}), L0 (\d+\.\d), dead (\d+)%", shown)[-1]
    assert float(fvu) == pytest.approx(last["fvu"], abs=1e-3)
    assert float(l0) == pytest.approx(last["l0"], abs=0.1)
    assert float(dead) == pytest.approx(100 * last["n_dead"] / 32, abs=1)
    assert f"{n_steps}/{n_steps}" in shown


@pytest.mark.filterwarnings("ignore::saescape._warnings.ConvergenceWarning")
def test_no_progress_when_it_is_not_wanted(small, capsys):
    sae.tl.sae_fit(small, 32, k=2, max_epochs=2, show_progress_bar=False)
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_loss_that_is_no_number(loss, tmp_path):
    with pytest.raises(ValueError, match=rf"the loss is {loss} at step 7. Lower `lr`") as error:
        check_loss(loss, 7)
    assert "The state before" not in str(error.value)
    path = tmp_path / "run.safetensors"
    checkpoint = SimpleNamespace(path=path)
    with pytest.raises(ValueError, match="Training diverged") as error:
        check_loss(loss, 7, checkpoint)
    # none was written so far
    assert str(path) not in str(error.value)
    path.touch()
    with pytest.raises(ValueError, match=r"delete the file to start anew") as error:
        check_loss(loss, 7, checkpoint)
    assert repr(str(path)) in str(error.value)


def test_finite_losses_pass():
    for loss in (0.0, 1e30, -1.0):
        check_loss(loss, 1)
