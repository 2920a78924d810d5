from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score

from saescape.metrics import fvu


def test_closed_forms():
    x = np.random.default_rng(0).normal(size=(50, 4)) + 3
    assert fvu(x, x) == 0
    assert fvu(x, np.broadcast_to(x.mean(0), x.shape)) == pytest.approx(1)
    # a shrunken reconstruction: (1 - a)^2
    assert fvu(x, x.mean(0) + 0.25 * (x - x.mean(0))) == pytest.approx(0.75**2)
    x_hat = x + np.random.default_rng(1).normal(size=x.shape)
    assert fvu(x, x_hat) == pytest.approx(1 - r2_score(x, x_hat, multioutput="variance_weighted"))


def test_bad_input():
    with pytest.raises(ValueError, match="2-D of equal shape"):
        fvu(np.ones((3, 2)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="no variance"):
        fvu(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="`x_hat` has 1 non-finite"):
        fvu(np.eye(2), np.array([[np.nan, 0], [0, 0]]))
