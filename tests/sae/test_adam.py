from __future__ import annotations

import numpy as np
import pytest
import torch

from saescape.sae import _adam
from saescape.sae._adam import Adam, has_fused_update
from saescape.sae._schedule import learning_rate


@pytest.mark.parametrize("fused", [True, False])
def test_slices_equal_the_optimiser_of_torch(fused):
    if fused and not has_fused_update("cpu"):
        pytest.skip("no fused update in this build")
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(11, 3, generator=generator) for _ in range(2)]
    mine = [p.clone() for p in start]
    theirs = [p.clone().requires_grad_() for p in start]
    optimiser, reference = Adam(mine), torch.optim.Adam(theirs, lr=0.02, betas=(_adam._BETA1, _adam._BETA2))
    optimiser.fused = fused
    for _ in range(5):
        grads = [torch.randn(11, 3, generator=generator) for _ in range(2)]
        for p, g in zip(theirs, grads, strict=True):
            p.grad = g.clone()
        reference.step()
        optimiser.next_step()
        for rows in (slice(0, 4), slice(4, 11)):
            optimiser.update([g[rows] for g in grads], 0.02, rows)
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p, q.detach())


def test_probe_falls_back_when_the_private_function_is_gone(monkeypatch):
    def gone(*args):
        raise AttributeError

    monkeypatch.setattr(_adam, "fused_update", gone)
    has_fused_update.cache_clear()
    assert not Adam([torch.zeros(2)]).fused
    has_fused_update.cache_clear()


def test_schedule():
    rates = [learning_rate(2.0, t, 100) for t in range(1, 101)]
    np.testing.assert_allclose(rates[:5], [0.4, 0.8, 1.2, 1.6, 2.0])
    np.testing.assert_allclose(rates[5:80], 2.0)
    np.testing.assert_allclose(rates[80:], 2.0 * np.arange(20, 0, -1) / 20)
    assert learning_rate(1.0, 1, 1) == 1.0
    assert [learning_rate(1.0, t, None) for t in (10, 20, 10**6)] == [0.5, 1.0, 1.0]
