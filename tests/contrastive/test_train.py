from __future__ import annotations

import pytest

from saescape.contrastive._train import _schedule, default_epochs


@pytest.mark.parametrize(
    ("n", "batch_size", "epochs"), [(4000, 64, 7), (64, 64, 400), (1_000_000, 64, 5), (40, 64, 400)]
)
def test_default_is_five_passes_or_400_steps(n, batch_size, epochs):
    assert default_epochs(n, batch_size) == epochs


def test_rate_warms_up_and_ends_at_zero():
    rates = [_schedule(epoch, 100) for epoch in range(101)]
    assert rates[0] < 0.05
    assert max(rates) == rates[5] > 0.98
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert all(a > b for a, b in zip(rates[5:], rates[6:], strict=False))
