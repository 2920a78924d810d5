from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import saescape as sae
from saescape._warnings import ConvergenceWarning, SignificanceWarning
from saescape.tl._gw_map_inputs import read_labels

from .test_gw_map import assert_equal
from .test_gw_map import gw_map as map_quietly

FAST = {"n_starts": 2}


@pytest.fixture(scope="module")
def _pair():
    return sae.datasets.paired(50, 40, n_genes=240, rng=4)


@pytest.fixture
def pair(_pair):
    return _pair[0].copy(), _pair[1].copy()


def coupled(adata, adata_ref, **kwargs):
    """The coupling, dense; checked to be one."""
    result = map_quietly(adata, adata_ref, copy=True, **{**FAST, **kwargs})
    plan = result.obsm["gw_coupling"].toarray()
    assert np.isfinite(plan).all()
    assert np.isfinite(result.obsm["X_gw"]).all()
    assert np.isfinite(result.uns["gw_map"]["gw_loss"])
    np.testing.assert_allclose(plan.sum(1), 1 / adata.n_obs, rtol=1e-4)
    assert np.abs(plan.sum(0) - 1 / adata_ref.n_obs).sum() < 0.05
    return plan, result


@pytest.mark.parametrize("side", ["adata", "adata_ref"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_counted_and_located(pair, side, value):
    adata, adata_ref = pair
    target, name = (adata, "X_image") if side == "adata" else (adata_ref, "X_pca")
    values = target.obsm[name].copy()
    values[[7, 30], [3, 0]] = value
    target.obsm[name] = values
    before = adata.copy()
    match = rf"`{side}.obsm\['{name}'\]` has 2 non-finite values, the first at position \(7, 3\)"
    with pytest.raises(ValueError, match=match):
        map_quietly(adata, adata_ref, **FAST)
    assert_equal(adata, before)


def test_one_cell(pair):
    adata, adata_ref = pair
    with pytest.raises(ValueError, match="`adata` must have at least 4 observations, found 1"):
        map_quietly(adata[:1].copy(), adata_ref)
    with pytest.raises(ValueError, match="`adata_ref` must have at least 4 observations, found 1"):
        map_quietly(adata, adata_ref[:1])


def test_integers_and_half_precision(pair):
    adata, adata_ref = pair
    whole = np.round(adata.obsm["X_image"] * 20)
    for dtype in (np.float32, np.float64, np.float16, np.int64, np.int8):
        adata.obsm[np.dtype(dtype).name] = whole.astype(dtype)
    adata_ref.obsm["whole"] = np.round(adata_ref.obsm["X_pca"] * 5).astype(np.int32)
    expected, _ = coupled(adata, adata_ref, use_rep="float32", use_rep_ref="whole")
    for name in ("float64", "float16", "int64", "int8"):
        plan, _ = coupled(adata, adata_ref, use_rep=name, use_rep_ref="whole")
        np.testing.assert_array_equal(plan, expected)


def test_copies_of_cells(pair):
    adata, adata_ref = pair
    copies = adata.obsm["X_image"].copy()
    copies[10:] = copies[np.arange(40) % 10]
    adata.obsm["copies"] = copies
    copies = adata_ref.obsm["X_pca"].copy()
    # nine of ten cells are one and the same
    copies[4:] = copies[4]
    adata_ref.obsm["copies"] = copies
    plan, _ = coupled(adata, adata_ref, use_rep="copies", use_rep_ref="copies")
    np.testing.assert_allclose(plan[10], plan[0], rtol=0.05, atol=1e-5)


def test_cells_without_direction_are_logged(pair, logged):
    adata, adata_ref = pair
    values = adata.obsm["X_image"].copy()
    values[[2, 9, 11]] = 0
    adata.obsm["empty"] = sparse.csr_matrix(values)
    coupled(adata, adata_ref, use_rep="empty")
    said = "3 of 50 cells of `adata` have nothing but zeros in the representation"
    assert sum(message.startswith(said) for message in logged) == 1
    logged.clear()
    coupled(adata, adata_ref, use_rep="empty", metric="euclidean")
    coupled(adata, adata_ref)
    assert not any("zeros" in message for message in logged)


def test_graphs_in_pieces_are_joined(pair, logged):
    adata, adata_ref = pair
    rng = np.random.default_rng(0)
    # three clouds that no chain of nearest neighbours connects
    adata.obsm["pieces"] = np.eye(3)[np.arange(50) % 3] * 10 + 0.01 * rng.normal(size=(50, 3))
    _, result = coupled(adata, adata_ref, use_rep="pieces", n_neighbors=5)
    assert result.uns["gw_map"]["n_links"][0] == 2
    assert any("graph of `adata` had 3 components, joined by their shortest links" in m for m in logged)
    logged.clear()
    coupled(adata, adata_ref, n_neighbors=25)
    assert not any("components" in message for message in logged)


def test_many_more_cells_on_one_side(logged):
    adata, adata_ref = sae.datasets.paired(30, 600, n_genes=240)
    adata.obsm["X_pca"] = adata.obsm["X_image"]
    _, result = coupled(adata, adata_ref)
    # at least 20 partners each: log(30) / log(600)
    assert any("weight of 20 cells of `adata_ref`" in m and "above 0.53 is not possible" in m for m in logged)
    assert result.obs["gw_confidence"].max() < 0.54
    logged.clear()
    map_quietly(adata, adata_ref, unbalanced=0.5, **FAST)
    assert not any("not possible" in message for message in logged)
    logged.clear()
    coupled(adata_ref, adata, use_rep="X_pca")
    assert any("each cell of `adata_ref` takes the mass of 20 cells of `adata`" in m for m in logged)


def test_small_epsilon_stays_finite(pair):
    adata, adata_ref = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignificanceWarning)
        with pytest.warns(ConvergenceWarning, match=r"raise `epsilon` \(0.001\)"):
            sae.tl.gw_map(
                adata,
                adata_ref,
                use_rep="X_image",
                epsilon=1e-3,
                n_nulls=0,
                n_starts=2,
                show_progress_bar=False,
                device="cpu",
            )
    for values in (adata.obsm["gw_coupling"].data, adata.obsm["X_gw"], adata.obs["gw_confidence"]):
        assert np.isfinite(values).all()
    assert np.isfinite(adata.uns["gw_map"]["gw_loss"])


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_names_of_cells(pair):
    adata, adata_ref = pair
    expected, _ = coupled(adata, adata_ref, obs="cell_type")
    # cells of `adata` are found by position: names that occur twice do no harm
    adata.obs_names = [f"cell_{i % 7}" for i in range(50)]
    plan, result = coupled(adata, adata_ref, obs="cell_type")
    np.testing.assert_array_equal(plan, expected)
    truth, predicted = (result.obs[name].astype(str).to_numpy() for name in ("cell_type", "gw_cell_type"))
    assert result.uns["gw_map"]["label_accuracy"].loc["cell_type", "accuracy"] == pytest.approx(
        np.mean(truth == predicted)
    )
    # those of the reference are looked up by name later on
    adata_ref.obs_names = [f"cell_{i % 7}" for i in range(40)]
    with pytest.raises(ValueError, match="`adata_ref.obs_names` are not unique; run `adata_ref.obs_names_make_unique"):
        map_quietly(adata, adata_ref, **FAST)


def test_labels_with_other_names_are_not_compared(pair, logged):
    adata, adata_ref = pair
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories(lambda name: name.upper())
    _, result = coupled(adata, adata_ref, obs="cell_type")
    assert "label_accuracy" not in result.uns["gw_map"]
    assert result.obs["gw_cell_type"].isin(adata_ref.obs["cell_type"].unique()).all()
    assert any("no label of `adata.obs['cell_type']` (such as 'TYPE_" in message for message in logged)
    # one name in common is enough
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"TYPE_0": "type_0"})
    _, result = coupled(adata, adata_ref, obs="cell_type")
    assert list(result.uns["gw_map"]["label_accuracy"].index) == ["cell_type"]


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        (np.arange(40), ValueError, r"holds numbers or booleans.*astype\('category'\).*sae.tl.gw_transfer"),
        (np.arange(40) / 3, ValueError, "holds numbers or booleans"),
        (np.arange(40) % 2 == 0, ValueError, "holds numbers or booleans"),
        (pd.date_range("2020-01-01", periods=40), TypeError, "datetime64.*must hold categories, text"),
        (np.full(40, None), ValueError, "missing values only"),
    ],
)
def test_what_is_no_label(pair, values, error, match):
    adata, adata_ref = pair
    adata_ref.obs["column"] = values
    with pytest.raises(error, match=match):
        map_quietly(adata, adata_ref, obs="column")


def test_labels_are_read_as_one_hot(pair):
    _, adata_ref = pair
    kinds = pd.Categorical(["b", None, "a", "c"] * 10, categories=["c", "unused", "b", "a"])
    adata_ref.obs["kind"] = kinds
    labels = read_labels(adata_ref, "kind")
    assert list(labels.categories) == ["c", "b", "a"]
    np.testing.assert_array_equal(labels.one_hot[:4], [[0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]])
    adata_ref.obs["text"] = kinds.astype(object)
    assert list(read_labels(adata_ref, "text").categories) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["view", "backed"])
def test_views_and_files_of_the_reference(pair, tmp_path, kind):
    adata, adata_ref = pair
    expected, _ = coupled(adata, adata_ref, obs="cell_type")
    if kind == "view":
        extra = adata_ref[:7].copy()
        extra.obs_names = [f"more_{i}" for i in range(7)]
        other = ad.concat([extra, adata_ref], uns_merge="first")[7:]
        assert other.is_view
    else:
        adata_ref.write_h5ad(tmp_path / "ref.h5ad")
        other = ad.read_h5ad(tmp_path / "ref.h5ad", backed="r")
    plan, _ = coupled(adata, other, obs="cell_type")
    np.testing.assert_array_equal(plan, expected)
    if kind == "view":
        assert other.is_view
    else:
        # also from the expression itself, which is read in blocks
        in_memory, _ = coupled(adata, adata_ref, use_rep_ref=None)
        from_file, _ = coupled(adata, other, use_rep_ref=None)
        np.testing.assert_array_equal(from_file, in_memory)
        other.file.close()


def test_memory_is_estimated(pair, monkeypatch):
    from saescape import _memory

    adata, adata_ref = pair
    before = adata.copy()
    monkeypatch.setattr(_memory, "_CHECKED_BYTES", 0)
    monkeypatch.setattr(_memory, "available_memory", lambda: 4 * 40 * 240 - 1)
    with pytest.raises(MemoryError, match=r"`adata_ref.X` in memory needs .* 40 cells x 240 .*`use_rep_ref` to fewer"):
        map_quietly(adata, adata_ref, use_rep_ref=None)
    assert_equal(adata, before)
    monkeypatch.setattr(_memory, "available_memory", lambda: 2**28)
    map_quietly(adata, adata_ref, use_rep_ref=None, **FAST)
    assert adata.obsm["gw_coupling"].shape == (adata.n_obs, 40)


def test_a_reference_that_changed_is_refused(pair):
    adata, adata_ref = pair
    map_quietly(adata, adata_ref, **FAST)
    renamed = adata_ref.copy()
    renamed.obs_names = [f"new_{i}" for i in range(40)]
    with pytest.raises(ValueError, match="must hold the 40 cells .* 40 are missing, such as 'rna_0'"):
        sae.tl.gw_transfer(adata, renamed, obs="cell_type")
    # another order is no other reference
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignificanceWarning)
        sae.tl.gw_transfer(adata, adata_ref, obs="cell_type")
        before = adata.obs["gw_cell_type"].astype(str)
        sae.tl.gw_transfer(adata, adata_ref[::-1], obs="cell_type")
    assert (adata.obs["gw_cell_type"].astype(str) == before).all()
