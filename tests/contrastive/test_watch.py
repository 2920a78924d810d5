from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from saescape.contrastive._crops import CropSource
from saescape.contrastive._network import seeded_network
from saescape.contrastive._watch import Watch, knn_score


def cloud(n, rng):
    labels = rng.integers(0, 3, n)
    points = rng.normal(size=(n, 4)) + 1.5 * np.eye(4)[labels]
    return points / np.linalg.norm(points, axis=1, keepdims=True), labels


def test_knn_score_is_that_of_scikit_learn_outside_the_own_group():
    rng = np.random.default_rng(0)
    unit, labels = cloud(90, rng)
    group = rng.integers(0, 5, 90)
    predicted = np.empty(90, dtype=int)
    for g in range(5):
        other = KNeighborsClassifier(10).fit(unit[group != g], labels[group != g])
        predicted[group == g] = other.predict(unit[group == g])
    assert knn_score(unit, labels, group) == pytest.approx(balanced_accuracy_score(labels, predicted), abs=1e-12)


def test_without_groups_only_the_crop_itself_is_left_out():
    unit, labels = cloud(70, np.random.default_rng(1))
    # scikit-learn leaves a point out of its own neighbours when asked about the points it was fitted on
    nearest = KNeighborsClassifier(10).fit(unit, labels).kneighbors(return_distance=False)
    predicted = [np.bincount(labels[rows], minlength=3).argmax() for rows in nearest]
    assert knn_score(unit, labels, np.arange(70)) == pytest.approx(
        balanced_accuracy_score(labels, predicted), abs=1e-12
    )


def test_labels_of_a_single_group_are_left_out():
    rng = np.random.default_rng(2)
    unit, labels = cloud(60, rng)
    assert math.isnan(knn_score(unit, labels, labels))
    # unlabelled rows change nothing
    group = np.arange(60)
    hidden = np.where(group < 20, -1, labels)
    assert knn_score(unit, hidden, group) == knn_score(unit[20:], labels[20:], group[20:])


def test_watched_crops_are_balanced_and_not_finite_values_are_a_collapse():
    crops = np.random.default_rng(0).random((900, 1, 8, 8), dtype=np.float32)
    labels = np.repeat([0, 1], [860, 40])
    watch = Watch(CropSource(crops), labels, [], np.random.default_rng(0))
    assert len(watch.rows) <= 512
    assert np.bincount(watch.labels)[1] == 40
    network, _ = seeded_network(1, 16, 0)
    watch.check(watch.measure(network, torch.device("cpu")), 1)
    with torch.no_grad():
        network.stem.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="collapsed in epoch 3: effective rank nan"):
        watch.check(watch.measure(network, torch.device("cpu")), 3)
