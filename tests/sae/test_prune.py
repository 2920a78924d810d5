"""Distances to sums of orthogonal directions have closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saescape.sae._prune import without_sums

AXES = np.eye(6)


def keep(rows, n_used, bound=0.1):
    rows = np.asarray(rows, dtype=np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    mask = without_sums(torch.tensor(rows, dtype=torch.float32), np.asarray(n_used), bound)
    assert mask.shape == (len(rows),)
    assert mask.dtype == bool
    return mask.tolist()


def test_of_equal_directions_the_most_used_stays():
    a, b = AXES[:2]
    assert keep([a, b, a, a], [3, 1, 9, 4]) == [False, True, True, False]
    # the first of those used alike
    assert keep([b, a, a], [1, 5, 5]) == [True, True, False]


def test_features_that_are_never_used_go_whatever_their_direction():
    assert keep(AXES[:3], [2, 0, 1]) == [True, False, True]
    assert keep(AXES[:3], [0, 0, 0]) == [False, False, False]


@pytest.mark.parametrize("n_parts", [2, 3])
def test_sums_go_in_whatever_proportion(n_parts):
    total = np.arange(1, n_parts + 1) @ AXES[:n_parts]
    assert keep([total, *AXES[:n_parts]], [1, *[9] * n_parts]) == [False, *[True] * n_parts]


def test_sum_that_is_used_more_than_its_parts_stays_beside_them():
    # each part is at a squared distance of one half from the sum, and the rest of the other way round is negative
    a, b = AXES[:2]
    assert keep([a, b, a + b], [5, 4, 9], 0.49) == [True, True, True]
    assert keep([a, b, a + b], [5, 4, 9], 0.51) == [False, False, True]


@pytest.mark.parametrize(
    ("row", "distance"),
    [
        # four parts, of which three can be used
        (AXES[:4].sum(0), 1 / 4),
        (AXES[:5].sum(0), 2 / 5),
        # no part may be subtracted
        (AXES[0] - AXES[1], 1 / 2),
        (2 * AXES[0] - AXES[1], 1 / 5),
        (-AXES[0], 1.0),
        # a direction of its own
        (AXES[0] + AXES[1] + AXES[5], 1 / 3),
        (3 * AXES[0] + AXES[5], 1 / 10),
    ],
)
def test_bound_is_the_squared_distance_to_the_closest_sum(row, distance):
    rows, n_used = [*AXES[:5], row], [9] * 5 + [1]
    assert keep(rows, n_used, 0.99 * distance)[-1]
    assert not keep(rows, n_used, 1.01 * distance)[-1]


def test_only_what_was_kept_can_stand_for_others():
    # the third is close to the second only, which went because it is close to the first
    angles = np.deg2rad([0, 15, 30])
    rows = np.column_stack([np.cos(angles), np.sin(angles)])
    bound = np.sin(np.deg2rad(20)) ** 2
    assert keep(rows, [3, 2, 1], bound) == [True, False, True]
