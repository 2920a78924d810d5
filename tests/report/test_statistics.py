"""What a report says, against plain loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from saescape.report._statistics import Codes, coactivation, exemplars, group_means, histogram, nearest


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((60, 7)) < 0.3, rng.gamma(2, 1, (60, 7)), 0)
    dense[:, 6] = 0
    return dense.astype(np.float32)


def test_active_rows(codes):
    found = Codes.of(sparse.csr_matrix(codes))
    for feature in range(7):
        rows, values = found.active(feature)
        np.testing.assert_array_equal(np.sort(rows), np.flatnonzero(codes[:, feature]))
        np.testing.assert_allclose(values, codes[rows, feature])


def test_histogram_counts_the_active():
    found = histogram(np.array([1.0, 1.0, 24.0]))
    assert found["counts"].sum() == 3
    assert found["counts"][-1] == 1
    assert (found["low"], found["high"]) == (0.0, 24.0)
    assert histogram(np.zeros(0))["counts"] == []


def test_exemplars_are_not_all_of_one_group():
    rows, values = np.array([5, 1, 9, 3]), np.array([2.0, 4.0, 4.0, 1.0])
    assert rows[exemplars(rows, values, 3, None, 1)].tolist() == [1, 9, 5]
    groups = np.zeros(10, dtype=int)
    groups[3] = 1
    assert rows[exemplars(rows, values, 3, groups, 2)].tolist() == [1, 9, 3]


def test_group_means(codes):
    column = pd.Series(np.array(["a", "b", None, "c"])[np.arange(60) % 4], name="type").astype(
        pd.CategoricalDtype(["a", "b", "c", "empty"])
    )
    rows, values = Codes.of(codes).active(2)
    found = group_means(rows, values, column)
    assert found["n_groups"] == 3
    for row in found["rows"]:
        members = (column == row["name"]).to_numpy()
        assert row["mean"] == pytest.approx(codes[members, 2].mean())
        assert row["share"] == pytest.approx((codes[members, 2] > 0).mean())
    means = [row["mean"] for row in found["rows"]]
    assert means == sorted(means, reverse=True)


def test_coactivation_is_the_cosine(codes):
    found = coactivation(Codes.of(codes).matrix, np.array([4, 6]))
    norm = np.linalg.norm(codes, axis=0)
    expected = codes[:, 4] @ codes[:, :6] / (norm[4] * norm[:6])
    np.testing.assert_allclose(found[0, :6], expected, rtol=1e-5)
    np.testing.assert_array_equal(found[1], 0)


def test_nearest_leaves_itself_out():
    names = list("abcd")
    found = nearest(np.array([0.2, 1.0, np.nan, -0.5]), 1, names)
    assert [entry["name"] for entry in found] == ["a"]
