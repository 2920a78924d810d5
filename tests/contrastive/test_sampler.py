from __future__ import annotations

import numpy as np

from saescape.contrastive._sampler import epoch_order


def test_without_groups_each_crop_once():
    order = epoch_order([], 50, np.random.default_rng(0))
    assert sorted(order) == list(range(50))


def test_nested_groups_get_equal_shares_at_each_level():
    # 0: one plate of 60 crops; 1: plates of 8 and 2 crops
    condition = np.repeat([0, 1], [60, 10])
    plate = np.repeat([0, 1, 2], [60, 8, 2])
    order = epoch_order([condition, plate], 70, np.random.default_rng(0))
    assert np.bincount(condition[order]).tolist() == [35, 35]
    plates = np.bincount(plate[order])
    assert abs(plates[1] - plates[2]) <= 1
    # any stretch is balanced, not only the whole
    for start in range(0, 70, 10):
        assert 4 <= condition[order[start : start + 10]].sum() <= 6


def test_small_groups_repeat_evenly_and_large_ones_change():
    group = np.repeat([0, 1], [97, 3])
    orders = [epoch_order([group], 100, np.random.default_rng(seed)) for seed in range(12)]
    rare = np.bincount(orders[0][group[orders[0]] == 1], minlength=100)[97:]
    assert rare.max() - rare.min() <= 1
    assert len(np.unique(np.concatenate(orders))) == 100
