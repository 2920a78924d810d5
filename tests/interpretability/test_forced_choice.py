from __future__ import annotations

import numpy as np
from scipy import sparse

from saescape.interpretability._forced_choice import Trials, draw_trials

SIZES = {"n_trials": 30, "n_exemplars": 4}


def draw(codes, batch_of=None, seed=0, **sizes):
    return draw_trials(sparse.csr_matrix(codes), batch_of, **{**SIZES, **sizes}, rng=np.random.default_rng(seed))


def test_cells_are_active_or_not_and_never_their_own_exemplar():
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(300, 3)) * (rng.random((300, 3)) < [0.05, 0.3, 0.01])
    trials = draw(codes)
    np.testing.assert_array_equal(trials.known, [True, True, False])
    assert trials.active.shape == (3, 30, 5)
    for i in (0, 1):
        assert (codes[trials.active[i], i] > 0).all()
        assert (codes[trials.inactive[i], i] == 0).all()
        assert all(len(set(cells)) == 5 for cells in trials.active[i])
    # of many active cells the most active quarter
    active = np.sort(codes[:, 1][codes[:, 1] > 0])
    assert codes[trials.active[1], 1].min() >= active[int(0.75 * len(active)) - 1]


def test_exemplars_come_from_other_batches_and_inactive_cells_from_the_same():
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 3, 300)
    codes = (rng.random((300, 2)) < 0.2) * 1.0
    codes[:, 1] *= batch == 1
    trials = draw(codes, batch)
    # the second feature is active in one batch only
    np.testing.assert_array_equal(trials.known, [True, False])
    assert (batch[trials.active[0, :, 1:]] != batch[trials.active[0, :, :1]]).all()
    np.testing.assert_array_equal(batch[trials.inactive[0]], batch[trials.active[0]])


def test_batches_without_inactive_cells_are_left_out():
    batch = np.repeat([0, 1, 2], 100)
    codes = (np.random.default_rng(0).random((300, 1)) < 0.3) * 1.0
    codes[batch == 0] = 1
    trials = draw(codes, batch)
    assert trials.known.all()
    assert (batch[trials.active] > 0).all()


def test_a_batch_effect_is_no_feature():
    """Active cells lie in two batches, which a judge recognises; within batches they are like all others."""
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 4, 2_000)
    unit = np.eye(4)[batch] + 0.2 * rng.normal(size=(2_000, 4))
    codes = (rng.random((2_000, 20)) < np.where(batch < 2, 0.2, 0.01)[:, None]) * 1.0
    assert draw(codes, n_trials=200).scores(unit).mean() > 0.6
    assert abs(draw(codes, batch, n_trials=200).scores(unit).mean() - 0.5) < 0.05


def test_scores_by_hand():
    unit = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    right = Trials(np.array([[[0, 1]]]), np.array([[[2, 3]]]), np.array([True]))
    assert right.scores(unit)[0] == 1
    assert right.scores(unit[[0, 2, 2, 0]])[0] == 0
    assert right.scores(np.ones((4, 2)))[0] == 0.5
    assert np.isnan(Trials(right.active, right.inactive, np.array([False])).scores(unit)[0])


def test_a_feature_does_not_depend_on_the_others():
    codes = (np.random.default_rng(0).random((200, 3)) < 0.3) * 1.0
    alone = draw(codes[:, :1])
    np.testing.assert_array_equal(draw(codes).active[0], alone.active[0])
