"""Weakly supervised and unbalanced maps."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import saescape as sae
from saescape._warnings import ConvergenceWarning, SignificanceWarning

FAST = {"n_nulls": 0, "n_starts": 4, "show_progress_bar": False, "device": "cpu", "use_rep": "X_image", "copy": True}


def gw_map(adata, adata_ref, **kwargs):
    """The call under test, without the warnings about significance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignificanceWarning)
        return sae.tl.gw_map(adata, adata_ref, **{**FAST, **kwargs})


@pytest.fixture(scope="module")
def pair():
    return sae.datasets.paired(100, 80, n_genes=300, imbalance=0.5)


def test_labels_of_both_sides_supervise(pair):
    adata, adata_ref = pair
    alone = gw_map(adata, adata_ref, obs="cell_type")
    result = gw_map(adata, adata_ref, obs="cell_type", joint_obs="cell_type")
    accuracy = result.uns["gw_map"]["label_accuracy"].loc["cell_type"]
    assert accuracy["accuracy"] > alone.uns["gw_map"]["label_accuracy"].loc["cell_type", "accuracy"] + 0.1
    # a column that was used is no evidence
    assert accuracy["used"]
    assert np.isnan(accuracy["pvalue"])
    assert not alone.uns["gw_map"]["label_accuracy"].loc["cell_type", "used"]
    stored = result.uns["gw_map"]
    assert list(stored["params"]["joint_obs"]) == ["cell_type"]
    assert stored["params"]["alpha"] == 0.5
    assert "labels" in list(stored["starts"]["start"])
    # mean cost of coupled cells from the stored plan
    a, b = (np.asarray(side.obs["cell_type"].astype(str)) for side in (adata, adata_ref))
    different = (a[:, None] != b[None]).astype(float)
    cost = (different - different.mean()) / different.std()
    assert stored["joint_cost"] == pytest.approx((result.obsm["gw_coupling"].toarray() * cost).sum(), abs=0.01)
    # the price is paid in structure
    assert stored["gw_loss"] > alone.uns["gw_map"]["gw_loss"]
    assert alone.uns["gw_map"]["params"]["joint_obs"] is None
    assert alone.uns["gw_map"]["params"]["alpha"] == 1
    assert "joint_cost" not in alone.uns["gw_map"]


def test_structure_alone_ignores_the_labels(pair):
    alone = gw_map(*pair)
    result = gw_map(*pair, joint_obs=["cell_type", "gradient"], alpha=1)
    assert result.uns["gw_map"]["gw_loss"] == pytest.approx(alone.uns["gw_map"]["gw_loss"], abs=1e-3)
    assert list(result.uns["gw_map"]["params"]["joint_obs"]) == ["cell_type", "gradient"]


def test_numbers_supervise(pair):
    adata, adata_ref = pair
    result = gw_map(adata, adata_ref, joint_obs="gradient", alpha=0.2)
    expected = result.obsm["gw_coupling"] @ adata_ref.obs["gradient"].to_numpy() * 100
    assert np.corrcoef(expected, adata.obs["gradient"])[0, 1] > 0.8


def test_integers_are_numbers(pair):
    adata, adata_ref = (side.copy() for side in pair)
    for side, dtype in ((adata, int), (adata_ref, float)):
        side.obs["day"] = (10 * side.obs["gradient"]).round().astype(dtype)
    mixed = gw_map(adata, adata_ref, joint_obs="day").uns["gw_map"]["joint_cost"]
    adata.obs["day"] = adata.obs["day"].astype(float)
    assert gw_map(adata, adata_ref, joint_obs="day").uns["gw_map"]["joint_cost"] == mixed


def test_few_labels_are_enough_to_break_a_mirror():
    adata, adata_ref = sae.datasets.paired(120, 120, n_types=4, mirror=True, noise=0.05)
    sparse_labels = adata.copy()
    sparse_labels.obs["cell_type"] = sparse_labels.obs["cell_type"].where(np.arange(120) % 4 == 0)
    result = gw_map(sparse_labels, adata_ref, obs="cell_type", joint_obs="cell_type", n_starts=6)
    hidden = np.arange(120) % 4 > 0
    found = (result.obs["gw_cell_type"].astype(str) == adata.obs["cell_type"].astype(str))[hidden]
    assert found.mean() > 0.6


def test_pot_takes_labels(pair):
    ours = gw_map(*pair, joint_obs="cell_type", metric="euclidean", epsilon=0.2)
    theirs = gw_map(*pair, joint_obs="cell_type", metric="euclidean", epsilon=0.2, method="pot", n_starts=2)
    assert theirs.uns["gw_map"]["joint_cost"] == pytest.approx(ours.uns["gw_map"]["joint_cost"], abs=0.05)
    assert theirs.uns["gw_map"]["gw_loss"] == pytest.approx(ours.uns["gw_map"]["gw_loss"], abs=0.05)


def test_shared_labels_do_not_make_unrelated_geometry_significant():
    adata, adata_ref = sae.datasets.paired(120, 120, rho=0.0, rng=2)
    result = gw_map(adata, adata_ref, joint_obs="cell_type", n_nulls=4)
    assert result.uns["gw_map"]["pvalue"] > 1 / 5


def test_unbalanced_gives_cells_their_mass(pair):
    adata, adata_ref = pair
    result = gw_map(adata, adata_ref, obs="cell_type", unbalanced=1)
    mass = result.obs["gw_mass"]
    assert mass.dtype == np.float32
    assert mass.mean() == pytest.approx(1, abs=1e-4)
    assert mass.std() > 0.05
    rows = np.asarray(result.obsm["gw_coupling"].sum(1)).ravel()
    np.testing.assert_allclose(rows * 100, mass, rtol=1e-3)
    stored = result.uns["gw_map"]
    np.testing.assert_array_equal(stored["params"]["unbalanced"], [1, 1])
    assert stored["marginal_error"] < 0.01
    huge = gw_map(adata, adata_ref, unbalanced=1e6)
    balanced = gw_map(adata, adata_ref)
    assert huge.uns["gw_map"]["gw_loss"] == pytest.approx(balanced.uns["gw_map"]["gw_loss"], abs=0.02)
    assert "gw_mass" not in balanced.obs
    one = gw_map(adata, adata_ref, unbalanced=(None, 1), joint_obs="cell_type")
    np.testing.assert_allclose(one.obs["gw_mass"], 1, rtol=1e-3)
    np.testing.assert_array_equal(one.uns["gw_map"]["params"]["unbalanced"], [np.inf, 1])


def test_round_trip(pair, tmp_path):
    result = gw_map(*pair, obs=["cell_type"], joint_obs=["cell_type", "gradient"], unbalanced=(1, None))
    result.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    params = back.uns["gw_map"]["params"]
    assert list(params["joint_obs"]) == ["cell_type", "gradient"]
    np.testing.assert_array_equal(params["unbalanced"], [1, np.inf])
    assert bool(back.uns["gw_map"]["label_accuracy"].loc["cell_type", "used"])


@pytest.mark.parametrize("kwargs", [{}, {"unbalanced": 1e-3}, {"unbalanced": 1e6, "joint_obs": "cell_type"}])
def test_tiny_epsilon_is_finite(pair, kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = gw_map(*pair, obs="cell_type", epsilon=1e-6, **kwargs)
    assert np.isfinite(result.obsm["X_gw"]).all()
    assert np.isfinite(result.obsm["gw_coupling"].data).all()
    assert np.isfinite(result.uns["gw_map"]["gw_loss"])


def test_tiny_epsilon_says_what_to_do(pair):
    with pytest.warns(ConvergenceWarning, match=r"raise `epsilon` \(1e-06\)"):
        gw_map(*pair, epsilon=1e-6)
    with pytest.raises(ValueError, match="no finite plan with `epsilon=1e-06`; raise `epsilon`"):
        gw_map(*pair, epsilon=1e-6, method="pot", metric="cosine", n_starts=1)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"joint_obs": "nothing"}, KeyError, r"`joint_obs='nothing'`: not found in `adata.obs` and `adata_ref.obs`"),
        ({"joint_obs": "here"}, KeyError, r"`joint_obs='here'`: not found in `adata_ref.obs`.*both sides.*cell_type"),
        ({"joint_obs": ["cell_type", "cell_type"]}, ValueError, "`joint_obs` names 'cell_type' twice"),
        (
            {"joint_obs": "other"},
            ValueError,
            r"no label is on both sides; `adata` has \['a'\] and `adata_ref` has \['b'\]",
        ),
        ({"joint_obs": "one"}, ValueError, "'a' is the only label on both sides"),
        ({"joint_obs": "empty"}, ValueError, "no label is on both sides"),
        ({"joint_obs": "constant"}, ValueError, "constant over both sides"),
        ({"joint_obs": "missing"}, ValueError, r"`adata.obs\['missing'\]` has no finite value"),
        ({"joint_obs": "mixed"}, TypeError, "float64 in `adata` and object in `adata_ref`; make both numbers"),
        ({"joint_obs": 3}, TypeError, "`joint_obs`"),
        ({"alpha": 0.5}, ValueError, r"`alpha=0.5` weighs .* `joint_obs`, and none is given"),
        ({"joint_obs": "cell_type", "alpha": 1.5}, ValueError, "`alpha` must be at least 0 and at most 1, found 1.5"),
        ({"joint_obs": "cell_type", "alpha": -0.1}, ValueError, "`alpha` must be at least 0"),
        ({"joint_obs": "cell_type", "alpha": "half"}, TypeError, "`alpha` must be a number"),
        ({"unbalanced": 0}, ValueError, "`unbalanced` must be greater than 0"),
        ({"unbalanced": (1, -1)}, ValueError, "`unbalanced` must be greater than 0"),
        ({"unbalanced": np.nan}, ValueError, "`unbalanced` must be greater than 0, found nan"),
        ({"unbalanced": (1, 1, 1)}, ValueError, "`unbalanced` must be one number or two .* found 3"),
        ({"unbalanced": "much"}, TypeError, "`unbalanced` must be a number"),
        ({"unbalanced": 1, "method": "pot", "metric": "cosine"}, ValueError, "`unbalanced` is for `method='auto'`"),
    ],
)
def test_bad_input_changes_nothing(pair, kwargs, error, match):
    adata, adata_ref = (side.copy() for side in pair)
    adata.obs["here"] = "a"
    adata.obs["other"], adata_ref.obs["other"] = "a", "b"
    adata.obs["one"], adata_ref.obs["one"] = "a", ["a", "b"] * 40
    adata.obs["mixed"], adata_ref.obs["mixed"] = 1.0, "1"
    adata.obs["missing"], adata_ref.obs["missing"] = np.nan, 1.0
    for side in (adata, adata_ref):
        side.obs["constant"] = 3.0
        side.obs["empty"] = pd.Categorical([None] * side.n_obs)
    before = adata.copy()
    with pytest.raises(error, match=match):
        gw_map(adata, adata_ref, **{**kwargs, "copy": False})
    assert list(adata.obs) == list(before.obs)
    assert set(adata.uns) == set(before.uns)
    assert set(adata.obsm) == set(before.obsm)
