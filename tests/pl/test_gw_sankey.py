from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch, Rectangle

import saescape as sae
from saescape.pl._colors import NEGATIVE, POSITIVE
from saescape.pl._sankey_layout import place, stack

GROUPS = {"sae_0": "even", "sae_2": "even", "sae_4": "even", "sae_1": "odd", "sae_3": "odd"}


def bands(ax):
    """Width of the bands of each kind, at their start and their end."""
    widths: dict[str, list] = {}
    for patch in ax.patches:
        if isinstance(patch, PathPatch):
            y = patch.get_path().vertices[:, 1]
            widths.setdefault(patch.get_label(), []).append((y[0] - y[7], y[3] - y[4], to_hex(patch.get_facecolor())))
    return widths


def nodes(ax):
    return {patch.get_label(): patch for patch in ax.patches if isinstance(patch, Rectangle)}


def sets(**genes):
    table = pd.DataFrame(
        [(module, name, 0.01, genes) for (module, name), genes in genes["of"].items()],
        columns=["module", "gene_set", "qvalue", "genes"],
    )
    return table.assign(n_overlap=2, n_set=5, odds_ratio=3.0, pvalue=0.001)


def overlapping(ax):
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    return [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


@pytest.mark.parametrize("weight", ["links", "zscore"])
def test_widths_are_sums_of_significant_links(linked, weight):
    links = linked.uns["gw_links"]
    links["qvalue"][0, 8] = 0.03  # to a gene without module
    ax = sae.pl.gw_sankey(linked, GROUPS, weight=weight, show=False)
    size = (links["qvalue"] <= 0.05) * (np.abs(links["zscore"]) if weight == "zscore" else 1)
    table = pd.DataFrame(size, index=links["features"], columns=links["genes"].index)
    group = pd.Series(GROUPS).reindex(table.index).fillna("none")
    module = links["genes"]["module"].astype(object).fillna("none")
    wanted = table.groupby(group.to_numpy()).sum().T.groupby(module.to_numpy()).sum().T
    found = bands(ax)
    scale = None
    for source in wanted.index:
        for target in wanted.columns:
            expected = wanted.loc[source, target]
            if expected == 0:
                assert f"{source} → {target}" not in found
                continue
            ((start, end, _),) = found[f"{source} → {target}"]
            scale = start / expected if scale is None else scale
            assert start == pytest.approx(end)
            assert start == pytest.approx(scale * expected)
    assert len(found) == (wanted > 0).to_numpy().sum() == 4
    # all the links of a node are drawn, and its height is theirs
    assert nodes(ax)["even"].get_height() == pytest.approx(scale * wanted.loc["even"].sum())
    assert nodes(ax)["module_1"].get_height() == pytest.approx(scale * wanted["module_1"].sum())


def test_signs_are_told_apart(linked):
    ax = sae.pl.gw_sankey(linked, {f"sae_{i}": "all" for i in range(6)}, color="sign", show=False)
    links = linked.uns["gw_links"]
    significant = links["qvalue"] <= 0.05
    for module in ("module_0", "module_1"):
        chosen = significant & (links["genes"]["module"] == module).to_numpy()
        found = {color: start for start, _, color in bands(ax)[f"all → {module}"]}
        ratio = np.sum(links["zscore"][chosen] < 0) / np.sum(links["zscore"][chosen] > 0)
        assert found[NEGATIVE] / found[POSITIVE] == pytest.approx(ratio)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["positive link", "negative link"]


def test_column_of_the_features_table(linked):
    table = pd.DataFrame({"shape": pd.Categorical(["b", "a"] * 3, categories=["b", "a", "c"])})
    linked.uns["sae"] = {"features": table.set_index(pd.Index([f"sae_{i}" for i in range(6)]))}
    ax = sae.pl.gw_sankey(linked, "shape", show=False)
    assert list(nodes(ax)) == ["b", "a", "module_0", "module_1"]
    assert set(bands(ax)) == {"b → module_0", "a → module_1"}
    # the autoencoder is the one whose features were linked
    linked.uns["gw_links"]["params"]["feature_key"] = "mine"
    linked.uns["mine"] = {"features": linked.uns["sae"]["features"].assign(other="x")}
    assert "x" in nodes(sae.pl.gw_sankey(linked, "other", show=False))


def test_groups_of_its_own_are_features_with_the_same_links(linked):
    ax = sae.pl.gw_sankey(linked, show=False)
    z = linked.uns["gw_links"]["zscore"]
    assert (z[2, :6] < 1.8).all()
    # two modules, two groups: of the same sign and module or not, as far apart as average linkage finds them
    assert sum("→ module" in name for name in bands(ax)) >= 2
    drawn = {name.split(" → ")[0] for name in bands(ax)}
    assert len(drawn) == 2
    again = sae.pl.gw_sankey(linked, show=False)
    assert bands(ax) == bands(again)


def test_gene_sets_get_the_links_of_their_genes(linked):
    links = linked.uns["gw_links"]
    # module_0 is G0, G2, G4; G2 is in two of its sets
    of = {("module_0", "A"): "G0,G2", ("module_0", "B"): "G2,G4", ("module_1", "C"): "G1", ("module_1", "D"): ""}
    links["enrichment"] = sets(of=of)
    ax = sae.pl.gw_sankey(linked, GROUPS, show=False)
    found = bands(ax)
    scale = nodes(ax)["module_0"].get_height() / 9
    assert found["module_0 → A"][0][0] == pytest.approx(scale * (3 + 1.5))
    assert found["module_0 → B"][0][0] == pytest.approx(scale * (3 + 1.5))
    assert found["module_1 → C"][0][0] == pytest.approx(scale * 3)
    assert not any(name.endswith("→ D") for name in found)
    headers = {text.get_text() for text in ax.texts}
    assert {"feature groups", "gene modules", "enriched gene sets"} <= headers
    assert not overlapping(ax)
    links["enrichment"]["qvalue"] = 0.5
    assert "enriched gene sets" not in {t.get_text() for t in sae.pl.gw_sankey(linked, GROUPS, show=False).texts}


def test_n_top_sets_takes_the_most_significant(linked):
    of = {("module_0", "A"): "G0", ("module_0", "B"): "G2", ("module_1", "B"): "G1,G3"}
    links = linked.uns["gw_links"]
    links["enrichment"] = sets(of=of).assign(qvalue=[0.02, 0.01, 0.03])
    found = bands(sae.pl.gw_sankey(linked, GROUPS, n_top_sets=1, show=False))
    assert {name for name in found if name.startswith("module")} == {"module_0 → B", "module_1 → B"}
    found = bands(sae.pl.gw_sankey(linked, GROUPS, n_top_sets=0, show=False))
    assert not any(name.startswith("module") for name in found)


@pytest.mark.parametrize("size", [None, (3, 2), (8, 3)])
def test_names_never_overlap(linked, size):
    links = linked.uns["gw_links"]
    groups = {f"sae_{i}": f"group of ${i}$ with a long name" for i in range(6)}
    links["enrichment"] = sets(of={("module_0", f"SET_${i}$_WITH_A_VERY_LONG_NAME_{i}"): "G0" for i in range(9)})
    ax = None if size is None else plt.subplots(figsize=size, layout="constrained")[1]
    ax = sae.pl.gw_sankey(linked, groups, n_top_sets=9, ax=ax, show=False)
    assert not overlapping(ax)
    if size is None:
        assert "group of $3$ with a long name (3)" in {text.get_text() for text in ax.texts}
    frame = ax.get_window_extent()
    for text in ax.texts:
        box = text.get_window_extent()
        if "(" in text.get_text():
            assert frame.x0 - 2 < box.x0
            assert box.x1 < frame.x1 + 2


def test_nothing_significant_is_said(linked):
    ax = sae.pl.gw_sankey(linked, max_qvalue=0.001, show=False)
    assert ax.get_title() == "no significant link (q ≤ 0.001, smallest is 0.01), global p = 0.02"
    assert not bands(ax)
    ax.figure.canvas.draw()


def test_bad_input(linked):
    with pytest.raises(KeyError, match=r"'sae' not found in `adata\.uns`"):
        sae.pl.gw_sankey(linked, "shape")
    linked.uns["sae"] = {"features": pd.DataFrame({"n": np.arange(6) + 0.5}, index=linked.uns["gw_links"]["features"])}
    with pytest.raises(KeyError, match="`groupby='shape'`: no such column"):
        sae.pl.gw_sankey(linked, "shape")
    with pytest.raises(ValueError, match="`groupby` has no group for any of the features"):
        sae.pl.gw_sankey(linked, {"nope": "a"})
    for argument in ("weight", "color"):
        with pytest.raises(ValueError, match=f"`{argument}` must be one of"):
            sae.pl.gw_sankey(linked, **{argument: "other"})
    with pytest.raises(ValueError, match="`n_top_sets` must be at least 0"):
        sae.pl.gw_sankey(linked, n_top_sets=-1)
    many = {f"sae_{i}": str(i) for i in range(40)}
    linked.uns["gw_links"] |= {
        "features": np.array(list(many)),
        **{table: np.zeros((40, 9)) for table in ("correlation", "null_mean", "null_sd", "zscore", "pvalue", "qvalue")},
    }
    with pytest.raises(ValueError, match="has 40 groups, of which at most 30 can be drawn"):
        sae.pl.gw_sankey(linked, many)


@pytest.mark.parametrize("line", [0.0, 0.04, 0.1])
def test_layout(line):
    rng = np.random.default_rng(0)
    flow = rng.poisson(3.0, (7, 9, 2)).astype(float)
    onward = rng.random((9, 4, 2)) * flow.sum(0)[:, None] / 4
    columns = [flow.sum((1, 2)), flow.sum((0, 2)), onward.sum((0, 2))]
    layout = place(columns, [flow, onward], line)
    for top, height, sizes in zip(layout.top, layout.height, columns, strict=True):
        np.testing.assert_allclose(height, layout.scale * sizes)
        assert top[0] <= 1 + 1e-9
        assert top[-1] - height[-1] >= -1e-9
        # nodes do not overlap, nor do their labels
        assert (top[:-1] - height[:-1] >= top[1:] - 1e-12).all()
        assert (-np.diff(top - height / 2) >= line - 1e-9).all()
    # it could not be larger: one column fills the height
    extent = [top[0] - top[-1] + height[-1] for top, height in zip(layout.top, layout.height, strict=True)]
    assert max(extent) > 1 - line - 1e-6
    start, end = stack(flow, layout, 0)
    np.testing.assert_allclose(start[:, 0, 0], layout.top[0])
    np.testing.assert_allclose(end[0, :, 0], layout.top[1])
    np.testing.assert_allclose(
        start[:, -1, -1] - flow[:, -1, -1] * layout.scale, layout.top[0] - layout.height[0], atol=1e-12
    )
    np.testing.assert_allclose(
        end[-1, :, -1] - flow[-1, :, -1] * layout.scale, layout.top[1] - layout.height[1], atol=1e-12
    )
