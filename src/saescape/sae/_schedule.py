from __future__ import annotations

import math

_WARM_UP = 0.05
_DECAY = 0.2
_WARM_UP_STEPS = 20


def learning_rate(peak: float, step: int, n_steps: int | None) -> float:
    """Rate of step 1, 2, ...: linear warm-up over 5 %, flat, linear to zero over the last 20 % of `n_steps`.

    With `n_steps` None (training without an end) the rate stays at its peak after 20 steps.
    """
    if n_steps is None:
        return peak * min(1.0, step / _WARM_UP_STEPS)
    warm_up = min(1.0, step / max(1, int(_WARM_UP * n_steps)))
    decay = min(1.0, (1 - (step - 1) / n_steps) / _DECAY)
    return peak * warm_up * decay


def steps_to_end_from(step: int) -> int:
    """Number of steps of a schedule that begins to go down after `step`."""
    return math.ceil(step / (1 - _DECAY))
