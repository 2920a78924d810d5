from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import saescape as sae


def test_curves_are_those_of_the_history(small):
    sae.tl.sae_fit(small, 32, k=2, max_epochs=30, show_progress_bar=False)
    history = small.uns["sae"]["history"]
    _, ax = plt.subplots()
    assert sae.pl.training(small, ax=ax, show=False) is ax
    train, held_out = ax.get_lines()
    np.testing.assert_array_equal(train.get_ydata(), history["fvu"])
    np.testing.assert_array_equal(held_out.get_ydata(), history["fvu_held_out"].dropna())
    counts = ax.figure.axes[1]
    np.testing.assert_array_equal(counts.get_lines()[0].get_ydata(), history["l0"])
    np.testing.assert_array_equal(counts.get_lines()[1].get_ydata(), history["n_dead"])
    assert ax.get_xlabel() == "step"
    assert len(ax.get_legend().get_texts()) == 4


def test_partial_fits_without_hold_out_can_be_drawn(small):
    sae.tl.sae_fit(small, 32, k=2, max_epochs=2, show_progress_bar=False)
    small.uns["sae"]["history"]["fvu_held_out"] = np.nan
    assert sae.pl.training(small, show=False).get_ylim()[1] > 0


def test_bad_input(small):
    with pytest.raises(KeyError, match="Run `sae.tl.sae_fit"):
        sae.pl.training(small, show=False)
    sae.tl.sae_fit(small, 32, k=2, max_epochs=2, show_progress_bar=False)
    del small.uns["sae"]["history"]
    with pytest.raises(KeyError, match="has no 'history'"):
        sae.pl.training(small, show=False)
