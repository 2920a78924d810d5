from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from saescape.simulation._design import latent_design, phenotype


def _design(n_obs=4000, n_concepts=60, *, seed=0, **kwargs):
    return latent_design(n_obs, n_concepts, rng=np.random.default_rng(seed), **kwargs)


def _share_explained(x, group):
    """Share of the variance of `x` between the groups."""
    means = pd.Series(x).groupby(np.asarray(group)).transform("mean").to_numpy()
    return means.var() / x.var()


@pytest.mark.parametrize("sizes", [(2, 2, 2, 4), (3, 2, 2, 7), (1, 3, 2, 2), (2, 3, 4, 3)])
def test_lines_are_nested_and_plates_crossed(sizes):
    n_conditions, n_lines, n_plates, n_wells = sizes
    obs = _design(2000, 5, n_conditions=n_conditions, n_lines=n_lines, n_plates=n_plates, n_wells=n_wells).obs
    assert obs["line"].nunique() == n_conditions * n_lines
    assert obs["well"].nunique() == n_plates * n_wells
    assert (obs.groupby("line", observed=True)["condition"].nunique() == 1).all()
    for outer in ("plate", "line"):
        assert (obs.groupby("well", observed=True)[outer].nunique() == 1).all()
    assert (pd.crosstab(obs["condition"], obs["plate"]) > 0).all(axis=None)
    cells = obs["well"].value_counts()
    assert cells.max() - cells.min() <= 1


def test_confounded_plates_hold_one_condition():
    obs = _design(500, 5, n_plates=4, confounded=True).obs
    assert (obs.groupby("plate", observed=True)["condition"].nunique() == 1).all()
    assert (obs.groupby("line", observed=True)["condition"].nunique() == 1).all()
    assert obs["line"].nunique() == 4


def test_factors_have_mean_one_and_shares_are_kept():
    design = _design(n_concepts=100, n_lines=20, n_wells=40)
    assert design.factor.shape == (4000, 100)
    assert (design.factor >= 0).all()
    # a mean over 40 lines and 4000 cells with a Gamma(1/2)
    assert design.factor.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(design.factor.mean(0), 1, atol=0.25)
    counts = design.concepts["role"].value_counts()
    assert counts.to_dict() == {"time_up": 10, "time_down": 10, "condition": 10, "plate": 10, "private": 60}


def test_roles_vary_by_what_they_are_called_after():
    design = _design(n_concepts=200, heterogeneity=np.inf)
    obs, role, x = design.obs, design.concepts["role"].to_numpy(), design.factor
    time = np.array([np.corrcoef(column, obs["time"])[0, 1] for column in x.T])
    plate = np.array([_share_explained(column, obs["plate"]) for column in x.T])
    condition = np.array([_share_explained(column, obs["condition"]) for column in x.T])
    assert time[role == "time_up"].min() > 0.6
    assert time[role == "time_down"].max() < -0.6
    assert plate[role == "plate"].min() > 0.6
    assert np.median(plate[role != "plate"]) < 0.1
    assert condition[role == "condition"].min() > 0.6
    # within a well only time differs, and only time concepts do
    within = pd.DataFrame(x).groupby(obs["well"].to_numpy()).std().max().to_numpy()
    timed = np.isin(role, ["time_up", "time_down"])
    assert within[timed].min() > 0.1
    np.testing.assert_allclose(within[~timed], 0, atol=1e-5)
    effect = design.concepts["effect"].to_numpy()
    assert (effect[role == "private"] == 0).all()
    assert (effect[role == "time_down"] < 0).all()


def test_effect_is_the_half_range_of_the_factor():
    design = _design(n_concepts=40, heterogeneity=np.inf, n_lines=1, n_plates=2, n_wells=100)
    obs = design.obs
    for k in np.flatnonzero(design.concepts["role"] == "plate"):
        high, low = sorted(pd.Series(design.factor[:, k]).groupby(obs["plate"].to_numpy()).mean(), reverse=True)
        # the mean of 100 wells with SD .1
        assert (high - low) / (high + low) == pytest.approx(design.concepts["effect"].iloc[k], abs=0.05)


def test_heterogeneity_is_gamma_and_time_rises_with_condition():
    design = _design(20000, 10, n_conditions=3, n_wells=6, heterogeneity=0.5, time_share=0, condition_share=0)
    private = design.factor[:, design.concepts["role"] == "private"]
    # Gamma(1/2) has squared coefficient of variation 2; times those of line (.04) and well (.01)
    assert private.var(0).mean() / private.mean() ** 2 == pytest.approx(2.15, rel=0.1)
    means = design.obs.groupby("condition", observed=True)["time"].mean()
    np.testing.assert_allclose(means, [0.35, 0.5, 0.65], atol=0.02)
    assert design.obs["time"].between(0, 1).all()


def test_one_of_each_and_few_cells():
    design = _design(3, 4, n_conditions=1, n_lines=1, n_plates=1, n_wells=1)
    assert design.factor.shape == (3, 4)
    assert list(_design(3, 4).obs["well"].cat.categories) == sorted(_design(3, 4).obs["well"].unique())


@pytest.mark.parametrize("zeros", [0.0, 0.8, 1.0])
def test_phenotype_has_the_zeros_asked_for_and_follows_time(zeros):
    design = _design(n_concepts=50)
    y = phenotype(design.factor, design.concepts["role"], zeros=zeros, rng=np.random.default_rng(1))
    assert (y == 0).mean() == zeros
    assert ((y >= 0) & (y <= 1)).all()
    if zeros < 1:
        assert np.corrcoef(y[y > 0], design.obs["time"][y > 0])[0, 1] > 0.5


def test_phenotype_without_time_concepts_is_unrelated():
    design = _design(n_concepts=20, time_share=0)
    y = phenotype(design.factor, design.concepts["role"], zeros=0.2, rng=np.random.default_rng(1))
    # Beta(5, 5)
    assert y[y > 0].mean() == pytest.approx(0.5, abs=0.02)
    assert abs(np.corrcoef(y, design.obs["time"])[0, 1]) < 0.05


def test_deterministic():
    first, second, other = _design(50, 6), _design(50, 6), _design(50, 6, seed=1)
    pd.testing.assert_frame_equal(first.obs, second.obs)
    np.testing.assert_array_equal(first.factor, second.factor)
    assert not np.array_equal(first.factor, other.factor)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"n_wells": 1}, "`n_wells` must be at least 2"),
        ({"n_lines": 9}, "`n_lines` 9 per condition do not fit into the 4 wells"),
        ({"n_plates": 1, "confounded": True}, "`n_plates` must be at least 2"),
        ({"n_lines": 0}, "`n_lines` must be at least 1"),
        ({"time_share": 0.9, "plate_share": 0.2}, "must not exceed 1 in sum"),
        ({"time_share": -0.1}, "`time_share` must be at least 0"),
        ({"heterogeneity": 0.0}, "`heterogeneity` must be greater than 0"),
    ],
)
def test_bad_input(kwargs, match):
    with pytest.raises(ValueError, match=match):
        _design(10, 5, **kwargs)


def test_bad_zeros():
    with pytest.raises(ValueError, match="`zeros` must be at least 0"):
        phenotype(np.ones((3, 1)), ["time_up"], zeros=2.0, rng=np.random.default_rng(0))
