from __future__ import annotations

import numpy as np
import pytest

from saescape.transport._align import Settings, align
from saescape.transport._batches import MAX_REFITS, FullMap, groups_of_batches, leave_out
from saescape.transport._joint import joint_cost
from saescape.transport._reduced import stratified

SETTINGS = Settings(("euclidean",), None, 0.1, 3)


def branches(rng, n, n_dims=4):
    """Cells on a tree with three branches of different length."""
    branch = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    position = rng.random(n) * np.array([3.0, 2.0, 1.2])[branch]
    return np.eye(n_dims)[branch] * position[:, None] + 0.05 * rng.normal(size=(n, n_dims)), branch


def test_strata_take_their_share():
    rng = np.random.default_rng(0)
    batch = np.repeat([0, 1, 2, 3], [700, 200, 99, 1])
    cells = stratified(batch, 100, rng)
    assert len(np.unique(cells)) == 100
    assert (np.diff(cells) > 0).all()
    # 70, 20, 9.9 and 0.1 cells: the last has one, at the cost of another one
    counts = np.bincount(batch[cells])
    assert counts[3] == 1
    np.testing.assert_allclose(counts, [70, 20, 9.9, 0.1], atol=1)
    np.testing.assert_array_equal(stratified(batch, 1000, rng), np.arange(1000))
    # more batches than cells to draw
    assert len(np.unique(stratified(np.arange(50) % 40, 10, rng))) == 10


def test_one_stratum_is_a_plain_sample():
    expected = np.sort(np.random.default_rng(3).choice(1000, 60, replace=False))
    np.testing.assert_array_equal(stratified(np.zeros(1000, int), 60, np.random.default_rng(3)), expected)


@pytest.mark.parametrize("n_batches", [2, 20, 21, 96])
def test_groups_hold_each_batch_once(n_batches):
    groups = groups_of_batches(n_batches, np.random.default_rng(0))
    assert len(groups) == min(n_batches, MAX_REFITS)
    np.testing.assert_array_equal(np.sort(np.concatenate(groups)), np.arange(n_batches))
    sizes = [len(group) for group in groups]
    assert max(sizes) - min(sizes) <= 1


@pytest.fixture(scope="module")
def related():
    rng = np.random.default_rng(1)
    x, label = branches(rng, 90)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    y, y_label = branches(rng, 120)
    return x, y @ rotation * 3, label, np.eye(3)[y_label], rotation


def refits(x, y, one_hot, batches, seed=0):
    targets = [y, one_hot]
    full = align(x, y, SETTINGS, targets, np.random.default_rng(0))
    steps = []
    full = FullMap((x, y), targets, full.readout.projections, SETTINGS)
    found = leave_out(full, batches, np.random.default_rng(seed), lambda: steps.append(0))
    assert len(steps) == 2 * len(found)
    return found


def test_batches_drawn_at_random_do_not_matter(related):
    x, y, _, one_hot, _ = related
    batches = (np.arange(len(x)) % 3, np.arange(len(y)) % 2)
    found = refits(x, y, one_hot, batches)
    assert [f.side for f in found] == [0, 0, 0, 1, 1]
    assert [f.batches.tolist() for f in found] == [[0], [1], [2], [0], [1]]
    assert min(f.agreement for f in found) > 0.9
    assert min(f.random_agreement for f in found) > 0.9
    assert min(f.same_label[0] for f in found) > 0.8
    assert all(0 <= f.loss < 0.5 for f in found)
    again = refits(x, y, one_hot, batches)
    assert [f.loss for f in again] == [f.loss for f in found]


def test_a_batch_that_makes_the_map_is_found(related):
    x, y, _, one_hot, _ = related
    # a second batch of the reference, which repeats the first far away: with it, distances are those between batches
    rng = np.random.default_rng(5)
    other = rng.normal(size=(20, 4)) * 0.1 + np.array([60.0, 0, 0, 0])
    both = np.concatenate([y, other])
    batches = (None, np.repeat([0, 1], [len(y), 20]))
    found = refits(x, both, np.concatenate([one_hot, np.eye(3)[rng.integers(3, size=20)]]), batches)
    assert found[1].batches.tolist() == [1]
    assert found[1].agreement < 0.8
    assert found[1].random_agreement > 0.9


def test_too_few_cells_are_left(related):
    x, y, _, one_hot, _ = related
    batch = np.where(np.arange(len(x)) < 3, 0, 1)
    found = refits(x, y, one_hot, (batch, None))
    assert np.isfinite(found[0].agreement)
    assert np.isnan([found[1].agreement, found[1].random_agreement, found[1].loss, *found[1].same_label]).all()
    # as many, but all of them the same
    x = x.copy()
    x[:20] = x[0]
    found = refits(x, y, one_hot, (np.where(np.arange(len(x)) < 20, 0, 1), None))
    assert np.isnan(found[1].agreement)
    assert np.isfinite(found[1].random_agreement)


def test_large_sides_are_sampled(monkeypatch, related):
    from saescape.transport import _reduced

    x, y, _, one_hot, _ = related
    monkeypatch.setattr(_reduced, "N_CELLS", 60)
    found = refits(x, y, one_hot, (np.arange(len(x)) % 3, None))
    assert min(f.agreement for f in found) > 0.85


def test_labels_that_supervise_the_map_supervise_the_refits():
    # noise on both sides: labels alone can decide
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60, 5))
    known = np.eye(3)[np.arange(60) % 3]
    joint = joint_cost([(known, known)])
    same = []
    for settings in (Settings(("euclidean",), None, 0.1, 3, alpha=0.1), SETTINGS):
        full = FullMap((x, y), [y, known], [x, known], settings, joint if settings.alpha < 1 else None)
        found = leave_out(full, (np.arange(60) // 3 % 2, None), np.random.default_rng(0), lambda: None)
        same.append([f.same_label[0] for f in found])
    assert min(same[0]) > 0.95
    assert max(same[1]) < 0.8
