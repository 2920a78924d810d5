from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from saescape.imaging._qc_verdict import POOLED, QcColumn, judge, qc_columns_of


def table_of(**columns):
    return pd.DataFrame({name.replace("__", " "): np.asarray(values) for name, values in columns.items()})


@pytest.fixture
def good():
    """60 observations of two channels without outliers."""
    rng = np.random.default_rng(0)
    columns = {}
    for channel in "ab":
        columns[f"qc_focus_{channel}"] = rng.lognormal(5, 0.2, 60)
        columns[f"qc_mean_{channel}"] = rng.lognormal(6, 0.2, 60)
        columns[f"qc_saturated_{channel}"] = np.zeros(60)
        columns[f"qc_foreground_{channel}"] = rng.random(60)
    return pd.DataFrame(columns)


def one_group(table, **kwargs):
    return judge(table, np.zeros(len(table), dtype=int), ["g"], **kwargs)


def test_blur_darkness_and_saturation_fail_with_their_reason(good):
    assert one_group(good).passed.all()
    good.loc[0, "qc_focus_a"] /= 1e3
    good.loc[1, "qc_mean_b"] *= 1e3
    good.loc[2, ["qc_mean_b", "qc_focus_b"]] /= 1e3
    good.loc[3, "qc_saturated_a"] = 0.06
    good.loc[4, "qc_focus_a"] *= 1e3  # sharper than the others is no fault
    verdict = one_group(good)
    assert np.flatnonzero(~verdict.passed).tolist() == [0, 1, 2, 3]
    # the first column that fails, in the order of the columns
    expected = ["qc_focus_a low", "qc_mean_b high", "qc_focus_b low", "qc_saturated_a high", "pass"]
    assert verdict.reason[:5].tolist() == expected
    assert set(verdict.reason.categories) == set(expected)
    assert verdict.reason.categories[0] == "pass"


def test_limits_against_the_formula(good):
    limits = one_group(good, n_mads=1.5).limits.set_index("column")
    for column, two_sided in (("qc_focus_a", False), ("qc_mean_b", True)):
        logs = np.log(good[column])
        spread = 1.4826 * np.median(np.abs(logs - np.median(logs)))
        low, high = np.exp(np.median(logs) - 1.5 * spread), np.exp(np.median(logs) + 1.5 * spread)
        row = limits.loc[column]
        np.testing.assert_allclose(row["low"], low, rtol=1e-4)
        np.testing.assert_allclose(row["high"], high if two_sided else np.inf, rtol=1e-4)
        assert row["n_low"] == (good[column] < row["low"]).sum() > 0
        assert row["n_high"] == (good[column] > row["high"]).sum()
        assert row["n_obs"] == 60
    assert "qc_foreground_a" not in limits.index


def test_groups_are_judged_on_their_own_and_small_ones_together():
    rng = np.random.default_rng(0)
    values = rng.lognormal(5, 0.1, (66, 2))
    values[30:60] *= 1000
    table = table_of(qc_focus_a=values[:, 0], qc_mean_a=values[:, 1])
    group = np.repeat([0, 1, 2], [30, 30, 6])
    verdict = judge(table, group, ["x", "y", "z"])
    assert verdict.passed.all()
    assert verdict.limits["group"].tolist() == ["x", "y", POOLED] * 2
    assert not one_group(table).passed.all()
    shuffled = np.random.default_rng(1).permutation(66)
    again = judge(table.iloc[shuffled], group[shuffled], ["x", "y", "z"])
    pd.testing.assert_frame_equal(again.limits, verdict.limits)


@pytest.mark.parametrize("value", [0.0, 0.1, 100.0, 65535.0])
def test_constant_channels_fail_nothing(good, value):
    rng = np.random.default_rng(0)
    # what rounding leaves of a constant channel; every pixel of it equals the largest, so that all are "saturated"
    good["qc_focus_b"] = rng.random(60) * (1e-7 * value) ** 2
    good["qc_mean_b"] = value * (1 + 1e-15 * rng.integers(-2, 3, 60))
    good["qc_saturated_b"] = 1.0
    verdict = one_group(good)
    assert verdict.passed.all()
    assert not verdict.limits["column"].str.endswith("_b").any()
    assert not one_group(good, thresholds={"qc_saturated_b": (-np.inf, 0.5)}).passed.any()


def test_most_values_equal_means_no_limits(good):
    good.loc[:39, "qc_mean_a"] = 500.0
    limits = one_group(good).limits.set_index("column")
    assert np.isinf(limits.loc["qc_mean_a", ["low", "high"]].astype(float)).all()


def test_blank_objects_of_a_good_channel_fail(good):
    good.loc[7, "qc_focus_a"] = 0.0
    assert one_group(good).reason[7] == "qc_focus_a low"


def test_negative_values(good):
    good["qc_mean_a"] -= 1000
    assert one_group(good).passed.mean() > 0.9


def test_missing_values_are_not_judged(good):
    expected = one_group(good.iloc[10:].reset_index(drop=True)).limits
    good.loc[:9, ["qc_focus_a", "qc_mean_a", "qc_saturated_a"]] = np.nan
    verdict = one_group(good)
    assert verdict.passed.all()
    of_a = verdict.limits["column"].str.endswith("_a")
    columns = ["column", "low", "high", "n_obs"]
    pd.testing.assert_frame_equal(verdict.limits.loc[of_a, columns], expected.loc[of_a, columns])
    good[:] = np.nan
    assert one_group(good).passed.all()


def test_thresholds_replace_the_rules(good):
    good["area"] = np.arange(60)
    good.loc[0, "qc_focus_a"] /= 1e3
    verdict = one_group(good, thresholds={"qc_focus_a": (-np.inf, np.inf), "area": (5.0, 57.0)})
    assert np.flatnonzero(~verdict.passed).tolist() == [0, 1, 2, 3, 4, 58, 59]
    assert verdict.reason[[0, 59]].tolist() == ["area low", "area high"]
    rules = dict(zip(verdict.limits["column"], verdict.limits["rule"], strict=True))
    assert rules["area"] == rules["qc_focus_a"] == "threshold"
    assert one_group(good, n_mads=None, max_saturated=None).limits.empty


def test_columns_are_recognised():
    names = ["area", "qc_pass", "qc_reason", "qc_focus_DAPI", "qc_mean_a_b c", "qc_nothing_a", 3]
    assert qc_columns_of(names) == [
        QcColumn("qc_focus_DAPI", "focus", "DAPI"),
        QcColumn("qc_mean_a_b c", "mean", "a_b c"),
    ]
