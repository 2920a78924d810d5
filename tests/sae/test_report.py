from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from saescape._warnings import ConvergenceWarning, SignificanceWarning
from saescape.sae._defaults import make_plan
from saescape.sae._report import count_duplicates, late_gain, warn_about, warn_unconverged

GOOD = {"fvu": 0.2, "n_steps": 10.0, "l0": 3.0, "l0_share_alive": 0.05, "n_features": 60.0, "n_dead": 0.0}


def test_nothing_to_say_about_a_good_fit():
    warn_about(GOOD)
    warn_about(GOOD | {"n_duplicates": 12.0}, replace(make_plan(1000, 10), k=3), penalised=True)


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        ({"fvu": 1.2}, ConvergenceWarning, r"FVU 1.20 after 10 steps.*`max_epochs`"),
        ({"l0_share_alive": 0.15}, SignificanceWarning, r"3.0 features are active.*15%.*Lower `k`"),
        ({"l0": 4.0}, ConvergenceWarning, r"4.0 features are active on average where 3 were asked for"),
        ({"late_gain": 0.25}, ConvergenceWarning, r"has not converged.*25% of the held-out error.*`max_epochs`"),
        ({"n_duplicates": 13.0}, SignificanceWarning, r"13 of 60 features are near duplicates.*Lower `n_features`"),
    ],
)
def test_warnings_say_the_number_and_the_remedy(change, kind, match):
    plan = replace(make_plan(1000, 10), k=3)
    with pytest.warns(kind, match=match):
        warn_about(GOOD | change, plan, penalised=True)


def test_a_fixed_penalty_asks_for_no_l0():
    warn_about(GOOD | {"l0": 5.0}, replace(make_plan(1000, 10), k=3, l1_coef=1.0), penalised=True)
    warn_about(GOOD | {"l0": 5.0}, replace(make_plan(1000, 10), k=3))


def test_duplicates_equal_brute_force():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1500, 8)).astype(np.float32)
    rows[7], rows[1400] = 3 * rows[1200], -rows[1]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit.T - 2 * np.eye(1500)
    expected = int((cosines > 0.95).any(1).sum())
    assert count_duplicates(rows) == expected >= 2
    assert count_duplicates(rows[:0]) == 0


def test_late_gain_compares_the_last_fifth_before_the_rate_goes_down():
    history = pd.DataFrame({"step": range(1, 101), "fvu_held_out": np.nan})
    history.loc[[0, 59, 79, 99], "fvu_held_out"] = [1.0, 0.5, 0.4, 0.1]
    assert late_gain(history) == pytest.approx(0.2)
    assert late_gain(history.assign(fvu_held_out=0.0)) == 0.0
    assert np.isnan(late_gain(history.assign(fvu_held_out=np.nan)))


def test_rows_left_unfinished_are_counted():
    warn_unconverged(0, 10)
    with pytest.warns(ConvergenceWarning, match="3 of 10 rows did not converge.*fewer active features"):
        warn_unconverged(3, 10)
