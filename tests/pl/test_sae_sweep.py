from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import saescape as sae

QUICK = {"n_seeds": 2, "max_epochs": 3, "show_progress_bar": False}


@pytest.fixture
def swept(small):
    sae.tl.sae_sweep(small, k=[1, 2, 4], n_features=[16, 24], n_nulls=2, **QUICK)
    return small


def test_lines_are_those_of_the_table(swept):
    ax = sae.pl.sae_sweep(swept, show=False)
    stability, error = ax.figure.axes
    assert ax is stability
    results = swept.uns["sae_sweep"]["results"]
    drawn = {line.get_label(): line for line in stability.get_lines() if line.get_label()[0] != "_"}
    for width in (16, 24):
        rows = results[results["n_features"] == width]
        line = drawn[f"{width} features"]
        np.testing.assert_array_equal(line.get_xdata(), rows["l0"])
        np.testing.assert_array_equal(line.get_ydata(), rows["stability"])
        heights = [line.get_ydata() for line in stability.get_lines()]
        chance = rows[["stability_null", "stability_random"]].max(axis=1)
        assert any(np.array_equal(height, chance) for height in heights)
        assert any(np.array_equal(line.get_ydata(), rows["fvu"]) for line in error.get_lines())
    assert "chance" in drawn
    assert [label.get_text() for label in error.get_xticklabels()] == ["1", "2", "4"]


def test_axes_given_get_the_first_panel_only(swept):
    _, ax = plt.subplots()
    assert sae.pl.sae_sweep(swept, ax=ax, show=False) is ax
    assert ax.figure.axes == [ax]


def test_without_null_fits(small):
    sae.tl.sae_sweep(small, k=2, n_features=16, n_nulls=0, key_added="mine", **QUICK)
    ax = sae.pl.sae_sweep(small, key="mine", show=False)
    results = small.uns["mine"]["results"]
    drawn = {line.get_ydata()[0] for line in ax.get_lines() if len(line.get_ydata())}
    assert drawn == {results["stability"].item(), results["stability_random"].item()}


def test_bad_input(small):
    with pytest.raises(KeyError, match="Run `sae.tl.sae_sweep"):
        sae.pl.sae_sweep(small, show=False)
    small.uns["other"] = {"params": {}}
    with pytest.raises(KeyError, match="holds no sweep"):
        sae.pl.sae_sweep(small, key="other", show=False)
