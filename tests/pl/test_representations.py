from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import saescape as sae


@pytest.fixture
def adata(small):
    adata = small[:80].copy()
    adata.obs["y"] = adata.obsm["X_rep"][:, 0].astype(float)
    sae.tl.compare_representations(
        adata, ["X_rep", "X"], ["y", "group"], n_neighbors=(4, 8), n_perms=9, dims=(None, 6), show_progress_bar=False
    )
    return adata


def test_lines_are_the_table(adata):
    ax = sae.pl.representations(adata, "morans_i", n_dims=6, show=False)
    results = adata.uns["compare_representations"]["results"]
    rows = results[(results["statistic"] == "morans_i") & (results["n_dims"] == 6)]
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert set(rows["rep"]) <= set(drawn)
    for rep, table in rows.groupby("rep"):
        np.testing.assert_array_equal(drawn[rep], table["value"])
    assert ax.get_title() == "y"
    assert len(ax.collections) == 1
    styles = {line.get_label(): line.get_linestyle() for line in ax.lines}
    assert styles["X_rep"] == "-"
    assert styles["X_rep (L2)"] == "--"


@pytest.mark.parametrize(
    ("kwargs", "label"),
    [
        ({}, "Moran's I"),
        ({"obs_key": "group"}, "neighbours with the same label"),
        ({"statistic": "ridge_r2"}, "$R^2$ of ridge regression"),
        ({"statistic": "probe_accuracy"}, "balanced accuracy of linear probe"),
        ({"statistic": "knn_overlap"}, "shared neighbours"),
        ({"statistic": "knn_overlap", "obs_key": "y"}, "shared neighbours"),
    ],
)
def test_choices(adata, kwargs, label):
    ax = plt.figure().add_subplot()
    assert sae.pl.representations(adata, **kwargs, ax=ax, show=False) is ax
    assert ax.get_ylabel() == label
    ax.figure.canvas.draw()


@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
def test_without_null(adata):
    quick = {"n_neighbors": 5, "baselines": False, "show_progress_bar": False}
    sae.tl.compare_representations(adata, "X_rep", "plate", batch_key="plate", **quick)
    for statistic in ("neighbor_purity", "probe_accuracy"):
        sae.pl.representations(adata, statistic, show=False).figure.canvas.draw()


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"key": "gone"}, KeyError, "`key='gone'`"),
        ({"statistic": "gone"}, ValueError, "`statistic` must be one of"),
        ({"obs_key": "gone"}, ValueError, "`obs_key` must be one of"),
        ({"group": "gone"}, ValueError, "`group` must be one of"),
        ({"n_dims": 99}, ValueError, "`n_dims` must be one of"),
        ({"statistic": "morans_i", "obs_key": "group"}, ValueError, "`statistic` must be one of"),
    ],
)
def test_bad_input(adata, kwargs, error, match):
    with pytest.raises(error, match=match):
        sae.pl.representations(adata, **kwargs, show=False)


def test_nothing_computed(small):
    with pytest.raises(KeyError, match="compare_representations"):
        sae.pl.representations(small)
