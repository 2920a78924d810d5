from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

import saescape as sae
from saescape.metrics import _foscttm


def brute_force(x, y):
    n, shares = len(x), []
    for d in (cdist(x, y), cdist(y, x)):
        for i in range(n):
            others = np.delete(d[i], i)
            shares.append(((others < d[i, i]).sum() + 0.5 * (others == d[i, i]).sum()) / (n - 1))
    return np.mean(shares)


@pytest.mark.parametrize("block", [8, 10_000])
def test_equals_brute_force(block, monkeypatch):
    monkeypatch.setattr(_foscttm, "_BLOCK_ENTRIES", 37 * block)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(37, 3))
    y = x + rng.normal(size=(37, 3))
    assert sae.metrics.foscttm(x, y) == pytest.approx(brute_force(x, y))
    # ties of integer coordinates count one half
    x, y = rng.integers(0, 3, (37, 2)).astype(float), rng.integers(0, 3, (37, 2)).astype(float)
    assert sae.metrics.foscttm(x, y) == pytest.approx(brute_force(x, y))


def test_known_values():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 5))
    assert sae.metrics.foscttm(x, x) == 0
    assert sae.metrics.foscttm(x, np.ones((400, 5))) == 0.5
    assert sae.metrics.foscttm(x, rng.normal(size=(400, 5))) == pytest.approx(0.5, abs=0.05)
    # two points whose partners are exchanged: every other point is nearer
    assert sae.metrics.foscttm(np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]])) == 1


def test_far_from_the_origin_and_sparse():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, 4))
    y = x + 0.5 * rng.normal(size=(50, 4))
    expected = sae.metrics.foscttm(x, y)
    assert sae.metrics.foscttm(x + 1e4, y + 1e4) == pytest.approx(expected)
    assert sae.metrics.foscttm(sparse.csr_matrix(x), y) == pytest.approx(expected)


def test_bad_input():
    x = np.zeros((4, 2))
    with pytest.raises(ValueError, match=r"same shape .* found \(4, 2\) and \(3, 2\)"):
        sae.metrics.foscttm(x, x[:3])
    with pytest.raises(ValueError, match="at least 2 rows, found 1"):
        sae.metrics.foscttm(x[:1], x[:1])
    with pytest.raises(ValueError, match="`y` has 1 non-finite"):
        sae.metrics.foscttm(x, np.where(np.eye(4, 2) * [1, 0], np.nan, x))
