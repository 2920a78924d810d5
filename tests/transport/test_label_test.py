from __future__ import annotations

import numpy as np
import pytest

from saescape.transport._label_test import name_pvalue, recalls


def test_recalls_by_hand():
    truth = np.array([0, 0, 0, 0, 1, 1, -1])
    predicted = np.array([0, 0, 1, -1, 2, 2, 0])
    np.testing.assert_array_equal(recalls(truth, predicted, 3)[:2], [[0.5, 0.25, 0], [0, 0, 1]])
    assert np.isnan(recalls(truth, predicted, 3)[2]).all()


def test_all_renamings_are_counted():
    # of the 24 assignments of four names only the true one is right everywhere
    assert name_pvalue(np.eye(4), np.random.default_rng(0)) == pytest.approx(1 / 24)
    # two names exchanged: the identity shares its accuracy of one half with all renamings with at least two right
    swapped = np.eye(4)[[1, 0, 2, 3]]
    assert name_pvalue(swapped, np.random.default_rng(0)) == pytest.approx((1 + 6) / 24)
    # a label that only the reference has can be the wrong name as well
    only = np.eye(3)
    only[2] = np.nan
    assert name_pvalue(only, np.random.default_rng(0)) == pytest.approx(1 / 6)


def test_constant_predictions_say_nothing():
    everywhere = np.tile([1.0, 0, 0, 0, 0], (5, 1))
    assert name_pvalue(everywhere, np.random.default_rng(0)) == 1
    assert name_pvalue(np.eye(1), np.random.default_rng(0)) == 1


@pytest.mark.parametrize("n_labels", [5, 9])
def test_pvalue_is_uniform_for_names_without_meaning(n_labels):
    rng = np.random.default_rng(1)
    pvalues = [name_pvalue(rng.dirichlet(np.ones(n_labels), n_labels), rng) for _ in range(200 if n_labels < 8 else 40)]
    # within 3 SD of the binomial
    assert abs(np.mean(np.array(pvalues) <= 0.2) - 0.2) < 3 * np.sqrt(0.16 / len(pvalues))
    assert abs(np.mean(pvalues) - 0.5) < 3 * np.sqrt(1 / 12 / len(pvalues))
