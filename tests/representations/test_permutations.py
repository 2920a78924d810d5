"""What is exchanged, and what cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from saescape.representations import _permutations
from saescape.representations._permutations import Permutations, log10_arrangements, permutation_unit

BLOCK = np.repeat([0, 1, 2, 3], [10, 5, 1, 8])[np.random.default_rng(0).permutation(24)]


def test_cells_stay_in_their_batch_and_move_within():
    rows = Permutations(BLOCK, "cells", 50, 3).rows(0, 51)
    np.testing.assert_array_equal(rows[:, 0], np.arange(24))
    for column in rows.T:
        np.testing.assert_array_equal(BLOCK[column], BLOCK)
        np.testing.assert_array_equal(np.sort(column), np.arange(24))
    assert len(np.unique(rows, axis=1).T) == 51
    # every place is as likely as any other of the batch
    many = Permutations(BLOCK, "cells", 4000, 4).rows(1, 4001)
    cell = np.flatnonzero(BLOCK == 1)[0]
    counts = np.unique(many[cell], return_counts=True)[1]
    assert len(counts) == 5
    assert np.all(np.abs(counts - 800) < 4 * np.sqrt(4000 * 0.2 * 0.8))


def test_batches_exchange_their_values():
    values = np.array([1.0, 2.0, 2.0, 7.0])[BLOCK]
    permuted = values[Permutations(BLOCK, "batches", 200, 0).rows(1, 201)]
    of_batch = []
    for number in range(4):
        inside = permuted[number == BLOCK]
        assert np.all(inside == inside[0])
        of_batch.append(inside[0])
    np.testing.assert_array_equal(np.sort(np.array(of_batch), axis=0), np.array([[1, 2, 2, 7]] * 200).T)
    assert len(np.unique(of_batch, axis=1).T) == 12
    assert 10 ** log10_arrangements(values, BLOCK) == pytest.approx(12)


def test_a_permutation_depends_on_its_number_only(monkeypatch):
    whole = Permutations(BLOCK, "cells", 30, 5).rows(0, 31)
    monkeypatch.setattr(_permutations, "_KEPT_ENTRIES", 0)
    np.testing.assert_array_equal(Permutations(BLOCK, "cells", 12, 5).rows(7, 9), whole[:, 7:9])
    assert not np.array_equal(Permutations(BLOCK, "cells", 30, 6).rows(7, 9), whole[:, 7:9])


@pytest.mark.parametrize(
    ("of_batch", "labels", "unit"),
    [
        ([0, 1, 2, 3], True, "none"),  # the batch itself
        ([0, 0, 1, 1], True, "batches"),
        ([0, 1, 2, 3], False, "batches"),  # ages of donors
        ([2, 2, 2, 2], False, "none"),
    ],
)
def test_unit_of_phenotypes_that_belong_to_the_batch(of_batch, labels, unit):
    values = np.array(of_batch)[BLOCK]
    assert permutation_unit(values, BLOCK, labels=labels) == unit
    assert permutation_unit(values, np.zeros(24, dtype=int), labels=labels) == "cells"
    if unit != "none":
        values[np.flatnonzero(BLOCK == 0)[0]] = 9
        assert permutation_unit(values, BLOCK, labels=labels) == "cells"


def test_two_batches_cannot_be_exchanged():
    assert permutation_unit(np.array([0.1, 0.1, 3.0]), np.array([0, 0, 1]), labels=False) == "none"
