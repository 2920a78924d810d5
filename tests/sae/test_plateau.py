from __future__ import annotations

from saescape.sae._plateau import Plateau


def _steps_until_reached(errors):
    plateau = Plateau()
    return next((i for i, pair in enumerate(errors) if plateau.reached(*pair)), None)


def test_ends_when_neither_error_goes_down():
    falling = [1 / (1 + i) for i in range(10)]
    flat = [falling[-1]] * 20
    assert _steps_until_reached([(e, e) for e in falling]) is None
    # five evaluations without a gain after the last gain
    assert _steps_until_reached([(e, e) for e in falling + flat]) == 14


def test_goes_on_while_training_still_learns():
    assert _steps_until_reached([(0.95**i, 1.0 + 0.01 * i) for i in range(60)]) is None


def test_too_small_a_gain_counts_as_none():
    assert _steps_until_reached([(0.9999**i, 0.9999**i) for i in range(60)]) == 10
