from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

import saescape as sae


def test_equals_scikit_learn():
    rng = np.random.default_rng(0)
    truth, predicted = rng.choice(list("abc"), 200, p=[0.6, 0.3, 0.1]), rng.choice(list("abc"), 200)
    assert sae.metrics.label_transfer_accuracy(truth, predicted) == pytest.approx(
        balanced_accuracy_score(truth, predicted)
    )
    assert sae.metrics.label_transfer_accuracy(truth, predicted, balanced=False) == pytest.approx(
        np.mean(truth == predicted)
    )


def test_missing_labels_and_types():
    truth = pd.Series(["0", "1", None, "1"])
    predicted = [0, 1, 1, None]
    # the unknown cell is left out, the missing prediction is wrong; 0 and "0" are one label
    assert sae.metrics.label_transfer_accuracy(truth, predicted, balanced=False) == pytest.approx(2 / 3)
    assert sae.metrics.label_transfer_accuracy(truth, predicted) == pytest.approx((1 + 0.5) / 2)


def test_chance_does_not_depend_on_frequencies():
    rng = np.random.default_rng(1)
    truth = rng.choice(list("abcd"), 20_000, p=[0.7, 0.1, 0.1, 0.1])
    assert sae.metrics.label_transfer_accuracy(truth, np.full(20_000, "a")) == 0.25
    assert sae.metrics.label_transfer_accuracy(truth, rng.permutation(truth)) == pytest.approx(0.25, abs=0.02)


def test_bad_input():
    with pytest.raises(ValueError, match="same length, found 2 and 1"):
        sae.metrics.label_transfer_accuracy(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="no known label"):
        sae.metrics.label_transfer_accuracy([None, None], ["a", "b"])
