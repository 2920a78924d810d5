from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.metrics import f1_score, precision_score, recall_score

from saescape.annotation._thresholds import halves, held_out_f1


def test_scores_are_those_of_the_other_half():
    rng = np.random.default_rng(0)
    labels, half = rng.integers(2, size=300), rng.integers(2, size=300)
    # weak activity everywhere, strong activity with the label: any activity at all is a bad threshold
    codes = np.where(labels == 1, rng.uniform(2, 3, 300), rng.uniform(0.1, 2.2, 300)) * (rng.random(300) < 0.9)
    result = held_out_f1(sparse.csr_matrix(codes[:, None]), labels, 2, half)
    levels = [0, *np.quantile(codes[codes > 0], [0.1, 0.25, 0.5, 0.75, 0.9], method="lower")]
    predicted = np.zeros(300, dtype=bool)
    for train in (0, 1):
        scores = [f1_score(labels[half == train], codes[half == train] > level) for level in levels]
        predicted[half != train] = codes[half != train] > levels[int(np.argmax(scores))]
    np.testing.assert_allclose(result.f1[1, 0], f1_score(labels, predicted))
    np.testing.assert_allclose(result.precision[1, 0], precision_score(labels, predicted))
    np.testing.assert_allclose(result.recall[1, 0], recall_score(labels, predicted))
    best = levels[int(np.argmax([f1_score(labels, codes > level) for level in levels]))]
    np.testing.assert_allclose(result.threshold[1, 0], best)
    np.testing.assert_allclose(result.baseline[1], f1_score(labels, np.ones(300)))


def test_a_label_of_one_half_has_no_score():
    labels, half = np.repeat([0, 1], 20), np.tile([0, 1], 20)
    half[labels == 1] = 0
    result = held_out_f1(sparse.csr_matrix(labels[:, None].astype(float)), labels, 2, half)
    assert np.isnan(result.f1[1, 0])
    assert np.isfinite(result.f1[0, 0])


def test_halves_keep_groups_whole():
    rng = np.random.default_rng(0)
    group = rng.integers(7, size=200)
    half = halves(rng.integers(3, size=200), group, rng)
    assert all(len(np.unique(half[group == g])) == 1 for g in range(7))
    assert {int(half[group == g][0]) for g in range(7)} == {0, 1}
    # labels of whole groups are in both halves
    nested = group % 3
    half = halves(nested, group, rng)
    for label in range(3):
        assert set(half[nested == label]) == {0, 1}
    alone = halves(np.arange(200) % 2, None, rng)
    assert abs(alone[::2].mean() - 0.5) < 0.02
