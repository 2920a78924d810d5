from __future__ import annotations

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import saescape as sae


def names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def bars(ax):
    """Runs of modules above the columns."""
    return {line.get_label(): tuple(line.get_xdata()) for line in ax.lines}


def stored(adata, table):
    links = adata.uns["gw_links"]
    return pd.DataFrame(links[table], index=links["features"], columns=links["genes"].index)


@pytest.mark.parametrize("value", ["correlation", "zscore"])
def test_image_and_dots_are_the_slots(linked, value):
    ax = sae.pl.gw_links(linked, value=value, show=False)
    rows, columns = names(ax.yaxis), names(ax.xaxis)
    np.testing.assert_array_equal(ax.images[0].get_array(), stored(linked, value).loc[rows, columns])
    # genes and features with significant links, and only these
    significant = stored(linked, "qvalue") <= 0.05
    assert set(columns) == set(significant.columns[significant.any()])
    assert set(rows) == set(significant.index[significant.any(axis=1)])
    dots = {(rows[int(y)], columns[int(x)]) for x, y in ax.collections[0].get_offsets()}
    assert dots == {(f, g) for f in rows for g in columns if significant.loc[f, g]}
    np.testing.assert_array_equal(ax.images[0].get_alpha() == 1, significant.loc[rows, columns])
    low, high = ax.images[0].get_clim()
    assert -low == high == pytest.approx(stored(linked, value).loc[rows, columns].abs().to_numpy().max())


def test_modules_are_runs_with_their_names(linked):
    ax = sae.pl.gw_links(linked, show=False)
    module = linked.uns["gw_links"]["genes"]["module"][names(ax.xaxis)].tolist()
    assert module == ["module_0"] * 3 + ["module_1"] * 3
    assert bars(ax) == {"module_0": (-0.5, 2.5), "module_1": (2.5, 5.5)}
    assert {text.get_text() for text in ax.texts} == {"module_0", "module_1"}
    # features stand in the order of the modules they drive
    assert [int(name.removeprefix("sae_")) % 2 for name in names(ax.yaxis)] == [0, 0, 0, 1, 1, 1]


def test_names_given_keep_their_order(linked):
    ax = sae.pl.gw_links(linked, features=["sae_5", "sae_0"], genes=["G8", "G1", "G0", "G3"], show=False)
    assert names(ax.yaxis) == ["sae_5", "sae_0"]
    assert names(ax.xaxis) == ["G8", "G1", "G0", "G3"]
    assert [line.get_label() for line in ax.lines] == ["none", "module_1", "module_0", "module_1"]


def test_n_top_takes_the_modules_in_turn(linked):
    links = linked.uns["gw_links"]
    # all genes of one module are stronger than all of the other
    links["zscore"] = np.where(links["genes"]["module"] == "module_1", 10 * links["zscore"], links["zscore"])
    ax = sae.pl.gw_links(linked, n_top=4, show=False)
    module = links["genes"]["module"][names(ax.xaxis)].tolist()
    assert module == ["module_0"] * 2 + ["module_1"] * 2
    assert len(names(ax.yaxis)) == 4
    strength = stored(linked, "zscore").abs().max()
    for name in ("module_0", "module_1"):
        members = strength[(links["genes"]["module"] == name).to_numpy()]
        assert set(members.nlargest(2).index) <= set(names(ax.xaxis))


def test_title_counts_the_links_of_the_whole_table(linked):
    def title(ax):
        return ax.get_title().replace(")\n", "), ")

    some = sae.pl.gw_links(linked, n_top=2, show=False)
    assert title(some) == "18 significant links (q ≤ 0.05), global p = 0.02"
    none = sae.pl.gw_links(linked, max_qvalue=0.001, show=False)
    assert title(none) == "no significant link (q ≤ 0.001, smallest is 0.01), global p = 0.02"
    assert len(none.collections[0].get_offsets()) == 0
    assert np.ptp(none.images[0].get_alpha()) == 0


def test_links_that_were_not_tested_are_chosen_by_correlation(linked):
    links = linked.uns["gw_links"]
    for table in ("zscore", "qvalue"):
        links[table] = np.full_like(links[table], np.nan)
    links["correlation"][2, 8] = 0.9
    ax = sae.pl.gw_links(linked, n_top=1, show=False)
    assert ax.get_title() == "links not tested"
    assert "sae_2" in names(ax.yaxis)


def test_missing_values_are_marked_and_do_not_break_the_order(linked):
    links = linked.uns["gw_links"]
    for table in ("correlation", "zscore", "qvalue"):
        links[table][1] = np.nan
    ax = sae.pl.gw_links(linked, features=["sae_0", "sae_1"], show=False)
    np.testing.assert_array_equal(np.ma.getmaskarray(ax.images[0].get_array())[:, 0], [False, True])
    assert "sae_1" not in names(sae.pl.gw_links(linked, show=False).yaxis)


@pytest.mark.parametrize("edge", ["no modules", "one module", "one feature", "all alike"])
def test_edge_cases(linked, edge):
    links = linked.uns["gw_links"]
    if edge == "no modules":
        links["genes"] = links["genes"].assign(module=pd.Categorical([None] * 9, categories=[]))
        links["modules"] = links["modules"].iloc[:0]
    elif edge == "one module":
        links["genes"]["module"] = pd.Categorical(["only"] * 9)
        links["modules"] = pd.DataFrame(index=["only"])
    elif edge == "all alike":
        links["zscore"][:] = links["correlation"][:] = 0
    features = "sae_0" if edge == "one feature" else None
    ax = sae.pl.gw_links(linked, features=features, show=False)
    ax.figure.canvas.draw()
    assert set(bars(ax)) == (
        {"module_0"} if edge == "one feature" else {"only"} if edge == "one module" else set(bars(ax))
    )
    assert (edge == "no modules") <= (not bars(ax))


def test_names_are_no_formulas_and_do_not_overlap(linked):
    links = linked.uns["gw_links"]
    links["features"] = np.array([f"cost_$x_{i}$ of a rather long feature" for i in range(6)])
    links["genes"].index = [f"$\\gene_{i}$" for i in range(9)]
    _, axes = plt.subplots(1, 2, figsize=(6, 2), layout="constrained")
    ax = sae.pl.gw_links(linked, ax=axes[1], show=False)
    assert ax is axes[1]
    ax.figure.canvas.draw()
    for axis, along in ((ax.xaxis, "width"), (ax.yaxis, "height")):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        cell = getattr(ax.get_window_extent(), along) / len(boxes)
        assert all(getattr(box, along) < 1.4 * cell for box in boxes)
    title = ax.title.get_window_extent()
    assert not any(text.get_window_extent().overlaps(title) for text in ax.texts)


def test_same_picture_after_a_round_trip(linked, tmp_path):
    linked.write_h5ad(tmp_path / "linked.h5ad")
    before, after = (sae.pl.gw_links(adata, show=False) for adata in (linked, ad.read_h5ad(tmp_path / "linked.h5ad")))
    assert names(before.xaxis) == names(after.xaxis)
    np.testing.assert_array_equal(before.images[0].get_array(), after.images[0].get_array())


def test_bad_input(linked):
    with pytest.raises(ValueError, match="`value` must be one of"):
        sae.pl.gw_links(linked, value="pvalue")
    with pytest.raises(ValueError, match="`max_qvalue` must be at least 0"):
        sae.pl.gw_links(linked, max_qvalue=-1)
    with pytest.raises(ValueError, match="`n_top` must be at least 1"):
        sae.pl.gw_links(linked, n_top=0)
    with pytest.raises(KeyError, match="`genes`: 1 of 2 have no links, such as 'nope'"):
        sae.pl.gw_links(linked, genes=["G0", "nope"])
    with pytest.raises(ValueError, match="`features` is empty"):
        sae.pl.gw_links(linked, features=[])
    with pytest.raises(KeyError, match="`key='other'`"):
        sae.pl.gw_links(linked, key="other")
    linked.uns["damaged"] = linked.uns["gw_links"] | {"qvalue": np.ones((2, 2))}
    with pytest.raises(ValueError, match=r"shape \(2, 2\), but there are 6 features and 9 genes"):
        sae.pl.gw_links(linked, key="damaged")
    linked.uns["else"] = {"a": 1}
    with pytest.raises(KeyError, match="holds no links"):
        sae.pl.gw_links(linked, key="else")
    del linked.uns["gw_links"]
    with pytest.raises(KeyError, match=r"sae\.tl\.gw_links\(adata, adata_ref\)"):
        sae.pl.gw_links(linked)


@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
def test_what_the_tool_stores_can_be_drawn():
    adata, adata_ref = sae.datasets.paired(60, 60, n_types=2)
    quick = {"n_nulls": 0, "show_progress_bar": False, "device": "cpu"}
    sae.tl.gw_map(adata, adata_ref, use_rep="X_image", n_starts=2, **quick)
    sets = {"first": list(adata_ref.var_names[:10])}
    sae.tl.gw_links(adata, adata_ref, feature_key="programs", net=sets, **quick)
    ax = sae.pl.gw_links(adata, n_top=10, show=False)
    assert ax.get_title() == "links not tested"
    rows, columns = names(ax.yaxis), names(ax.xaxis)
    assert len(rows) == len(columns) == 10
    np.testing.assert_array_equal(ax.images[0].get_array(), stored(adata, "correlation").loc[rows, columns])
    assert sae.pl.gw_sankey(adata, show=False).get_title() == "links not tested"
    # as if some were significant
    links = adata.uns["gw_links"]
    links["qvalue"][:3, :20] = 0.01
    assert len(sae.pl.gw_links(adata, n_top=20, show=False).collections[0].get_offsets()) == 60
    assert "60 significant links" in sae.pl.gw_sankey(adata, show=False).get_title()
