from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import saescape as sae
from saescape.pl._qc_panels import Panel, limits_of


@pytest.fixture(scope="module")
def untouched():
    rng = np.random.default_rng(0)
    fields = {f"f{i}": (gain * rng.poisson(500, (2, 128, 128))).astype(np.uint16) for i, gain in enumerate((1, 2, 8))}
    fields["f0"][0, :16, :16] = 500
    fields["f2"][1, 32:48, 32:48] = rng.poisson(60000, (16, 16))
    return sae.pp.image_to_adata(fields, channel_names=["DAPI", "GFP"], tile_size=16, show_progress_bar=False)


@pytest.fixture
def adata(untouched):
    return untouched.copy()


def drawn_lines(ax):
    return [line for line in ax.lines if line.get_linestyle() == "--"]


def test_a_row_per_measure_and_a_column_per_channel(adata):
    axes = sae.pl.qc(adata, show=False)
    measures = [name for name in ("focus", "mean", "sd", "saturated", "foreground") if f"qc_{name}_GFP" in adata.obs]
    assert axes.shape == (len(measures), 2)
    titles = {ax.get_title() for ax in axes[0]}
    assert titles == {"DAPI: 0.52% fail", "GFP: none fails"}
    assert plt.gcf().get_suptitle() == "2 of 192 observations fail"
    assert axes[0, 0].get_xscale() == "log"
    assert axes[measures.index("saturated"), 0].get_xscale() == "linear"
    # no limits, nothing said about them
    assert axes[measures.index("foreground"), 1].get_title() == "GFP"
    picked = sae.pl.qc(adata, channels="GFP", measures=["foreground", "mean"], show=False)
    assert [ax.get_xlabel() for ax in picked[:, 0]] == ["foreground pixels (share)", "mean intensity"]


def test_every_observation_is_drawn_and_failing_ones_in_red(adata):
    ax = sae.pl.qc(adata, channels="DAPI", measures="focus", show=False)[0, 0]
    every, failing = (patch.get_data().values for patch in ax.patches[:2])
    assert every.sum() == 192
    assert failing.sum() == 1
    red = [line for line in ax.lines if line.get_marker() == "|"]
    low = adata.obs["qc_focus_DAPI"].min()
    edge = ax.get_xlim()[0]
    np.testing.assert_allclose(red[0].get_xdata(), [max(low, edge)])


def test_limits_of_the_groups(adata):
    ax = sae.pl.qc(adata, channels="DAPI", measures="mean", groupby="region", show=False)[0, 0]
    limits = adata.uns["image_qc"]["limits"].set_index(["column", "group"]).loc["qc_mean_DAPI"]
    drawn = {round(float(path.vertices[0, 0]), 6) for lines in ax.collections for path in lines.get_paths()}
    for name in ("f0", "f1", "f2"):
        assert {round(limits.loc[name, side], 6) for side in ("low", "high")} <= drawn
    assert [label.get_text() for label in ax.get_yticklabels()] == ["f0", "f1", "f2"]
    together = sae.pl.qc(adata, channels="DAPI", measures="mean", show=False)[0, 0]
    bands = [patch.get_extents() for patch in together.patches[2:]]
    assert len(bands) == 2
    assert not drawn_lines(together)


def test_one_limit_for_all_is_a_line(adata):
    sae.pp.image_qc(adata, thresholds={"mean": (600, None)}, key_added="mine")
    ax = sae.pl.qc(adata, channels="DAPI", measures="mean", key="mine", show=False)[0, 0]
    (line,) = drawn_lines(ax)
    assert line.get_xdata()[0] == 600
    assert ax.get_title() == "DAPI: 33% fail"


def test_many_groups_are_drawn_together(adata):
    adata.obs["well"] = [f"w{i % 21}" for i in range(192)]
    ax = sae.pl.qc(adata, groupby="well", measures="mean", show=False)[0, 0]
    assert ax.patches
    assert not ax.get_yticks().size


def test_pooled_and_unknown_groups(adata):
    limits = adata.uns["image_qc"]["limits"]
    rows = limits[limits["column"] == "qc_mean_DAPI"]
    low, _ = limits_of(rows, np.array(["f2", "new", "f0"]), 3)
    by_group = rows.set_index("group")["low"]
    assert low.tolist() == [by_group["f2"], -np.inf, by_group["f0"]]
    # groups that had been judged together
    part = adata[:70].copy()
    sae.pp.image_qc(part)
    rows = part.uns["image_qc"]["limits"]
    rows = rows[rows["column"] == "qc_mean_DAPI"].set_index("group")["low"]
    low, _ = limits_of(part.uns["image_qc"]["limits"].query("column == 'qc_mean_DAPI'"), part.obs["region"], 70)
    assert low[-1] == rows["fewer than 20"]
    assert low[0] == rows["f0"]


def test_after_a_round_trip_and_without_the_column_of_groups(adata, tmp_path):
    import anndata as ad

    adata.write_h5ad(tmp_path / "a.h5ad")
    read = ad.read_h5ad(tmp_path / "a.h5ad")
    del read.obs["region"]
    assert sae.pl.qc(read, measures="focus", show=False)[0, 0].get_title() == "DAPI: none fails"


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(50),
        np.full(50, 7.0),
        np.full(50, np.nan),
        np.array([1.0]),
        np.r_[np.full(49, 1e-3), 1e9],
        np.r_[0.0, np.geomspace(1, 1e6, 200)],
        -np.geomspace(1, 1e6, 50),
        np.full(50, 1.0 + 1e-15),
    ],
)
@pytest.mark.parametrize("may_be_log", [True, False])
def test_any_values_can_be_drawn(values, may_be_log):
    ends = np.full(len(values), -np.inf), np.full(len(values), np.inf)
    panel = Panel(values, *ends, may_be_log=may_be_log)
    assert (np.diff(panel.edges) > 0).all()
    assert panel.counts().sum() == np.isfinite(values).sum()


def test_constant_channel(adata):
    for column in adata.obs.columns[adata.obs.columns.str.endswith("GFP")]:
        adata.obs[column] = 0.0
    for groupby in (None, "region"):
        sae.pl.qc(adata, groupby=groupby, show=False)
        plt.gcf().canvas.draw()


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"channels": "Cy5"}, KeyError, r"`channels`: \['Cy5'\] not found. Available: \['DAPI', 'GFP'\]"),
        ({"measures": "sharpness"}, KeyError, r"`measures`: \['sharpness'\] not found"),
        ({"groupby": "plate"}, KeyError, "`groupby='plate'`"),
        ({"key": "mine"}, KeyError, "`key='mine'`"),
        ({"channels": 3}, TypeError, "`channels` must be a string or several"),
    ],
)
def test_errors(adata, kwargs, error, match):
    with pytest.raises(error, match=match):
        sae.pl.qc(adata, show=False, **kwargs)


def test_errors_without_measures_or_verdict(adata, small):
    with pytest.raises(KeyError, match="no quality measures"):
        sae.pl.qc(small, show=False)
    del adata.uns["image_qc"]
    with pytest.raises(KeyError, match="sae.pp.image_qc"):
        sae.pl.qc(adata, show=False)
