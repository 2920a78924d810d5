from __future__ import annotations

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import saescape as sae

KINDS = ["reference_smooth", "query_smooth", "reference_gaussian", "query_gaussian"]


@pytest.fixture
def mapped():
    rng = np.random.default_rng(0)
    nulls = pd.DataFrame(0.5 + 0.1 * rng.random((9, 4)), columns=KINDS)
    nulls.loc[:2, "query_smooth"] = 0.1
    adata = ad.AnnData(np.ones((900, 1)))
    table = {"start": ["optimum"] * 3, "loss": [0.41, 0.40, 0.60], "agreement": [-0.5, 1.0, 0.1]}
    adata.uns["gw_map"] = {
        "gw_loss": 0.4,
        "null_observed": 0.35,
        "nulls": nulls,
        "pvalue": 0.4,
        "ambiguous": True,
        "optima": pd.DataFrame(table),
        "starts": pd.DataFrame(table).iloc[:2],
        "ref_names": np.array([str(i) for i in range(900)]),
    }
    return adata


def points(ax):
    return {line.get_label(): line.get_xydata().tolist() for line in ax.lines}


def test_panels_show_the_slots(mapped):
    ax = sae.pl.gw_nulls(mapped, show=False)
    nulls, optima = ax.figure.axes
    assert nulls is ax
    result = mapped.uns["gw_map"]
    for row, kind in enumerate(KINDS):
        np.testing.assert_array_equal(ax.lines[row].get_xdata(), result["nulls"][kind])
        np.testing.assert_array_equal(ax.lines[row].get_ydata(), row)
    assert ax.lines[4].get_xdata()[0] == 0.35
    labels = [label.get_text() for label in ax.get_yticklabels()]
    # (1 + 0) / 10 and (1 + 3) / 10
    assert [label.split("(")[1] for label in labels] == ["p = 0.1)", "p = 0.4)", "p = 0.1)", "p = 0.1)"]
    assert ax.get_title() == "p = 0.4, 9 nulls of each kind"
    found = points(optima)
    assert found["chosen"] == [[1.0, 0.40]]
    assert found["as good, but different"] == [[-0.5, 0.41]]
    assert found["other optima"] == [[0.1, 0.60]]
    assert set(found) == {"chosen", "as good, but different", "other optima"}
    assert optima.get_title() == "ambiguous"
    ax.figure.canvas.draw()


def test_no_rivals_when_not_ambiguous(mapped):
    mapped.uns["gw_map"]["ambiguous"] = False
    optima = sae.pl.gw_nulls(mapped, show=False).figure.axes[1]
    assert "as good, but different" not in points(optima)
    assert len(points(optima)["other optima"]) == 2
    assert optima.get_title() == "not ambiguous"


def test_without_nulls(mapped):
    result = mapped.uns["gw_map"]
    result |= {"nulls": result["nulls"].iloc[:0], "pvalue": float("nan")}
    ax = sae.pl.gw_nulls(mapped, show=False)
    assert "not tested" in ax.get_title()
    assert not any("p =" in label.get_text() for label in ax.get_yticklabels())


def test_given_axes_get_the_nulls_only(mapped, tmp_path):
    mapped.write_h5ad(tmp_path / "mapped.h5ad")
    _, ax = plt.subplots()
    assert sae.pl.gw_nulls(ad.read_h5ad(tmp_path / "mapped.h5ad"), ax=ax, show=False) is ax
    assert len(ax.figure.axes) == 1


def test_bad_input(mapped):
    with pytest.raises(KeyError, match="`key='other'`"):
        sae.pl.gw_nulls(mapped, key="other")
    mapped.uns["else"] = {"a": 1}
    with pytest.raises(KeyError, match="holds no coupling"):
        sae.pl.gw_nulls(mapped, key="else")
    del mapped.uns["gw_map"]
    with pytest.raises(KeyError, match=r"sae\.tl\.gw_map\(adata, adata_ref\)"):
        sae.pl.gw_nulls(mapped)
