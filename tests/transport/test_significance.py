from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_blobs

from saescape.transport._align import Settings, Starts
from saescape.transport._nulls import _arrangement, _draw, rearranged, reduced
from saescape.transport._significance import NullTest, null_test

SETTINGS = Settings(metrics=("euclidean",), n_neighbors=None, epsilon=0.1, n_starts=2)


def test_arrangement_keeps_second_moments():
    rng = np.random.default_rng(0)
    weight, new_weight = rng.dirichlet(np.full(7, 3)), rng.dirichlet(np.full(7, 3))
    centres = rng.normal(size=(7, 4)) * [4, 2, 1, 0.1]
    centres -= weight @ centres
    moved = _arrangement(centres, weight, new_weight, rng)
    np.testing.assert_allclose((moved.T * new_weight) @ moved, (centres.T * weight) @ centres, atol=1e-10)
    np.testing.assert_allclose(new_weight @ moved, 0, atol=1e-10)
    assert np.abs(moved - centres).max() > 0.5


def test_drawn_cells_are_not_repeated():
    members = np.random.default_rng(0).normal(size=(6, 3))
    drawn = _draw(members, 40, np.random.default_rng(0))
    assert drawn.shape == (40, 3)
    assert len(np.unique(drawn.round(9), axis=0)) > 30
    assert len(np.unique(_draw(members, 4, np.random.default_rng(0)), axis=0)) == 4


def test_rearranged_looks_like_the_data():
    x, _ = make_blobs(400, n_features=6, centers=8, random_state=0)
    total = np.trace(np.cov(x.T))
    null = [np.trace(np.cov(rearranged(x, np.random.default_rng(i)).T)) for i in range(10)]
    assert 0.8 < np.mean(null) / total < 1.2
    np.testing.assert_array_equal(rearranged(x, np.random.default_rng(0)), rearranged(x, np.random.default_rng(0)))
    assert rearranged(x[:5], np.random.default_rng(0)).shape == (5, 6)
    assert np.isfinite(rearranged(np.repeat(x[:3], 20, axis=0), np.random.default_rng(0))).all()


def test_reduced_keeps_distances():
    wide = np.random.default_rng(0).normal(size=(10, 50))
    small = reduced(wide)
    assert small.shape == (10, 10)
    np.testing.assert_allclose(small @ small.T, wide @ wide.T, atol=1e-9)


def tree(rng, n=120):
    """A branching cloud with unequal branches."""
    ends = rng.normal(size=(5, 4)) * [3, 2, 1, 1]
    branch = rng.choice(5, n, p=[0.35, 0.25, 0.2, 0.12, 0.08])
    return rng.random((n, 1)) * ends[branch] + 0.1 * rng.normal(size=(n, 4)) + ends[branch] * (branch % 2)[:, None]


def test_related_data_are_significant():
    rng = np.random.default_rng(0)
    latent = tree(rng)
    x, y = (np.tanh(0.3 * latent @ rng.normal(size=(4, p))) for p in (12, 9))
    test = null_test(x, y, SETTINGS, 19, np.random.default_rng(0), lambda: None)
    assert test.pvalue == pytest.approx(0.05)


def test_unrelated_data_are_not_significant():
    pvalues = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, y = (np.tanh(0.3 * tree(rng) @ rng.normal(size=(4, p))) for p in (12, 9))
        pvalues.append(null_test(x, y, SETTINGS, 9, np.random.default_rng(seed), lambda: None).pvalue)
    # uniform p-values would be 0.1 in one of ten
    assert np.sum(np.array(pvalues) <= 0.1) <= 2
    assert np.median(pvalues) > 0.2


def test_pvalue_formula_takes_the_worse_side():
    test = NullTest(1.0, np.array([[2.0, 3.0, 0.5, 1.0], [2.0, 2.0, 2.0, 2.0]]))
    assert test.pvalue == pytest.approx(3 / 5)
    assert np.isnan(NullTest(1.0, np.empty((2, 0))).pvalue)


@pytest.mark.parametrize(
    ("gap", "agreement", "ambiguous"), [(0.01, 0.2, True), (0.01, 0.95, False), (0.5, 0.2, False), (-0.01, 0.2, True)]
)
def test_ambiguity_rule(gap, agreement, ambiguous):
    test = NullTest(1.0, 1.0 + 0.1 * np.random.default_rng(0).normal(size=(2, 50)))
    optima = Starts(["a", "b"], np.array([0.4, 0.4 + gap]), np.array([1.0, agreement]))
    assert test.is_ambiguous(optima) == ambiguous
