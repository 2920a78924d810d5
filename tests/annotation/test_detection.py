from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.metrics import balanced_accuracy_score

from saescape.annotation._detection import _best_threshold, detect_by_genes, detect_by_label


def test_label_rule_is_chosen_on_the_other_half():
    rng = np.random.default_rng(0)
    labels, half = rng.integers(4, size=400), rng.integers(2, size=400)
    active = (labels == 2) & (rng.random(400) < 0.8) | (rng.random(400) < 0.05)
    # in the second half the feature follows another label: what one half learns is wrong in the other
    torn = np.where(half == 0, labels == 1, labels == 3)
    codes = sparse.csr_matrix(np.stack([active, torn], 1).astype(float))
    score = detect_by_label(codes, labels, 4, np.array([0, 1]), half)
    np.testing.assert_allclose(score[0], balanced_accuracy_score(active, labels == 2))
    assert score[1] < 0.5
    labels[:50] = -1
    assert np.isfinite(detect_by_label(codes, labels, 4, np.array([0]), half)[0])


def test_best_threshold_against_all_thresholds():
    rng = np.random.default_rng(1)
    score = rng.integers(0, 12, 80).astype(float)
    active = rng.random(80) < score / 12
    found = balanced_accuracy_score(active, score > _best_threshold(score, active))
    assert found == max(balanced_accuracy_score(active, score > t) for t in np.arange(-0.5, 12))


def test_planted_genes_are_detected_shuffled_ones_and_noise_are_not():
    rng = np.random.default_rng(2)
    n, n_genes = 1200, 120
    active = rng.random((n, 3)) < 0.3
    expression = rng.normal(size=(n, n_genes))
    expression[:, :20] += 1.5 * active[:, :1]
    codes = sparse.csr_matrix(active.astype(float))
    half, group = np.arange(n) % 2, np.arange(n) % 4
    features = np.arange(3)
    kwargs = {"n_genes": 20, "min_cells": 5}
    chosen = detect_by_genes(codes, expression, features, half, group, **kwargs)
    assert chosen[0] > 0.95
    assert np.all(np.abs(chosen[1:] - 0.5) < 0.05)
    sparse_score = detect_by_genes(codes, sparse.csr_matrix(expression), features, half, group, **kwargs)
    np.testing.assert_allclose(sparse_score, chosen, atol=0.02)
    given = {0: list(range(20)), 1: list(range(40, 60))}
    marked = detect_by_genes(codes, expression, np.array([0, 1]), half, group, markers=given, **kwargs)
    assert marked[0] > 0.95
    assert abs(marked[1] - 0.5) < 0.05
    assert np.isnan(marked[2])
    shuffled = {0: rng.choice(np.arange(20, n_genes), 20, replace=False)}
    assert (
        abs(detect_by_genes(codes, expression, np.array([0]), half, group, markers=shuffled, **kwargs)[0] - 0.5) < 0.05
    )


def test_a_feature_of_one_half_has_no_rule():
    half = np.repeat([0, 1], 30)
    codes = sparse.csr_matrix((half == 0).astype(float)[:, None] * (np.arange(60) % 3 == 0)[:, None])
    expression = np.random.default_rng(0).normal(size=(60, 4))
    score = detect_by_genes(codes, expression, np.array([0]), half, None, n_genes=2, min_cells=2)
    assert np.isnan(score[0])
