from __future__ import annotations

import numpy as np
import pytest

from saescape.metrics import mmcs


def test_closed_forms():
    truth = np.random.default_rng(0).normal(size=(30, 8))
    shuffled = 3 * np.random.default_rng(1).permutation(truth)
    assert mmcs(shuffled, truth) == pytest.approx(1)
    assert mmcs(np.vstack([shuffled, np.zeros((2, 8))]), truth) == pytest.approx(1)
    assert mmcs(np.array([[-1.0, 0]]), np.array([[1.0, 0]])) == pytest.approx(-1)
    angle = 0.3
    rotated = np.array([[np.cos(angle), np.sin(angle)]])
    assert mmcs(rotated, np.array([[1.0, 0], [0, 1.0]])) == pytest.approx((np.cos(angle) + np.sin(angle)) / 2)


def test_bad_input():
    with pytest.raises(ValueError, match="rows of equal length"):
        mmcs(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="1 rows of zeros"):
        mmcs(np.ones((2, 2)), np.array([[0.0, 0], [1, 0]]))
    with pytest.raises(ValueError, match="`dictionary` has 1 non-finite"):
        mmcs(np.array([[np.nan, 1]]), np.ones((2, 2)))
