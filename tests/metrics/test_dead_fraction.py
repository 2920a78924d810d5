from __future__ import annotations

import numpy as np

from saescape.metrics import dead_fraction


def test_share_of_silent_columns():
    codes = np.random.default_rng(0).random((20, 10))
    codes[:, [2, 5, 7]] = 0
    assert np.isclose(dead_fraction(codes), 0.3)
