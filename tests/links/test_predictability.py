from __future__ import annotations

import numpy as np
import pytest

from saescape.links._predictability import Predictor


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(200, 6))


def test_linear_targets_are_predicted_and_noise_is_not(rows):
    rng = np.random.default_rng(1)
    linear = rows @ rng.normal(size=6)
    half = linear / linear.std() + rng.normal(size=200)
    targets = np.stack([linear, half, rng.normal(size=200), np.full(200, 3.0)], 1)
    r2 = Predictor(rows, None, np.random.default_rng(2)).r2(targets)
    assert r2[0] > 0.999
    assert r2[1] == pytest.approx(0.5, abs=0.15)
    assert abs(r2[2]) < 0.1
    assert np.isnan(r2[3])


def test_agrees_with_ridge_of_sklearn(rows):
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(3)
    batch_of = np.repeat(np.arange(5), 40)
    y = rows[:, 0] + rng.normal(size=200)
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 5, 33)))
    predicted = cross_val_predict(model, rows, y, groups=batch_of, cv=GroupKFold(5))
    expected = 1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2)
    found = Predictor(rows, batch_of, np.random.default_rng(0)).r2(y[:, None])
    assert found[0] == pytest.approx(expected, abs=0.01)


def test_whole_batches_are_held_out(rows):
    # what only tells batches apart predicts nothing in a batch not seen
    batch_of = np.repeat(np.arange(40), 5)
    rng = np.random.default_rng(4)
    rows = np.eye(40)[batch_of] + 0.01 * rng.normal(size=(200, 40))
    y = rng.normal(size=40)[batch_of][:, None]
    assert Predictor(rows, None, rng).r2(y)[0] > 0.8
    assert Predictor(rows, batch_of, rng).r2(y)[0] < 0.2
