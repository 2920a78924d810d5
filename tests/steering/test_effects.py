from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats

from saescape.steering._effects import CallableDecoder, LinearDecoder, Push, variable_effects
from saescape.steering._manifold import RealCells, similar_features


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    x, change, directions = rng.normal(size=(90, 6)), rng.normal(size=(90, 2)), rng.normal(size=(2, 6))
    return x, Push(change, directions), rng.integers(0, 5, 90)


class Noise:
    """A decoder whose effects have nothing to do with what is steered."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def group_effects(self, x, push, group_of, n_groups):
        return self.rng.normal(size=(n_groups, 4_000))


def test_pvalues_are_uniform_when_groups_do_not_agree(cells):
    x, push, group = cells
    controls = np.eye(6)
    table = variable_effects(Noise(), x, push, controls, group, np.random.default_rng(0))
    for alpha in (0.01, 0.05, 0.5):
        assert (table["pvalue"] < alpha).mean() == pytest.approx(alpha, rel=0.25)
    assert stats.kstest(table["pvalue"], "uniform").pvalue > 0.01


def test_linear_and_called_decoders_agree(cells, monkeypatch):
    monkeypatch.setattr("saescape.steering._effects._BLOCK_ROWS", 20)
    x, push, group = cells
    loadings = np.random.default_rng(1).normal(size=(6, 3))
    expected = LinearDecoder(loadings).group_effects(x, push, group, 5)
    called = CallableDecoder(lambda rows: rows @ loadings)
    for rows in (x, sparse.csr_matrix(x)):
        np.testing.assert_allclose(called.group_effects(rows, push, group, 5), expected, atol=1e-5)
    shift = push.change @ push.directions
    by_group = np.stack([shift[group == i].mean(0) for i in range(5)])
    np.testing.assert_allclose(LinearDecoder(None).group_effects(x, push, group, 5), by_group)


def test_controls_are_as_long_as_the_shifts(cells):
    _, push, _ = cells
    length = np.linalg.norm(push.shift(slice(None)), axis=1)
    np.testing.assert_allclose(np.abs(push.signed_length()), length)
    direction = np.eye(6)[2]
    along = push.along(direction)
    np.testing.assert_allclose(np.linalg.norm(along.shift(slice(None)), axis=1), length)
    np.testing.assert_array_equal(np.sign(along.shift(slice(None))[:, 2]), np.sign(push.change.sum(1)))


def test_neighbours_are_real_cells_other_than_the_source():
    rng = np.random.default_rng(0)
    x, shift = rng.normal(size=(80, 3)), rng.normal(size=(80, 3))
    real = RealCells(x, np.arange(80), 5, rng)
    distances = np.linalg.norm((x + shift)[:, None] - x[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    mean, neighbors = real.look_around(shift)
    assert mean == pytest.approx(np.sort(distances, 1)[:, :5].mean())
    np.testing.assert_array_equal(np.sort(neighbors, 1), np.sort(np.argsort(distances, 1)[:, :5], 1))
    label = np.arange(80) % 4
    np.testing.assert_allclose(
        real.label_shares(neighbors, label, 4), [(label[neighbors] == i).mean() for i in range(4)]
    )


def test_samples_are_bounded(monkeypatch):
    monkeypatch.setattr("saescape.steering._manifold._MOST_STEERED", 10)
    monkeypatch.setattr("saescape.steering._manifold._MOST_REAL", 40)
    real = RealCells(np.random.default_rng(0).normal(size=(100, 3)), np.arange(50), 5, np.random.default_rng(0))
    assert len(real.steered) == 10
    assert real.steered.max() < 50
    assert len(real.cells) == 40
    assert real.neighbors.shape == (10, 5)
    assert (real.neighbors != real.steered[:, None]).all()


def test_control_features_fire_about_as_often():
    n_active = np.array([100, 95, 104, 1, 0, 5_000, 98])
    found = similar_features(n_active, np.array([0]), 1, np.random.default_rng(0))
    assert found[0] in {1, 2, 6}
    everything = similar_features(n_active, np.array([0]), 10, np.random.default_rng(0))
    assert sorted(everything) == [1, 2, 3, 5, 6]
