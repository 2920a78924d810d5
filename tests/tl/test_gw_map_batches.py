from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import saescape as sae
from saescape._warnings import SignificanceWarning
from saescape.transport import _batches

from .test_gw_map import assert_equal
from .test_gw_map import gw_map as map_quietly


@pytest.fixture(scope="module")
def _pair():
    adata, adata_ref = sae.datasets.paired(60, 60, n_genes=240, n_batches=2, rng=4)
    adata.obs["plate"] = [f"p{i % 3}" for i in range(60)]
    return adata, adata_ref


@pytest.fixture
def pair(_pair):
    return _pair[0].copy(), _pair[1].copy()


@pytest.fixture
def fixed(monkeypatch):
    """Refits that do nothing; what they answer can be set."""
    answers = {"agreement": [0.9]}
    calls = []

    def refit(full, cells, rng):
        rng.random()
        calls.append(cells)
        turn = (len(calls) - 1) % len(answers["agreement"])
        return 0.5, answers["agreement"][turn], [0.75] * (len(full.targets) - 1)

    monkeypatch.setattr(_batches, "_refit", refit)
    return answers, calls


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_table_round_trips(pair, tmp_path, kind):
    adata, adata_ref = pair
    plain = map_quietly(adata, adata_ref, obs="cell_type", copy=True, n_starts=2)
    map_quietly(adata, adata_ref, obs="cell_type", batch_key="plate", batch_key_ref="batch", n_starts=2)
    # batches are reported and do not change the map
    assert (plain.obsm["gw_coupling"] != adata.obsm["gw_coupling"]).nnz == 0
    assert "batches" not in plain.uns["gw_map"]
    table = adata.uns["gw_map"]["batches"]
    columns = ["side", "batch", "n_obs", "loss", "agreement", "random_agreement", "same_cell_type"]
    assert list(table.columns) == columns
    assert table["side"].tolist() == ["adata"] * 3 + ["adata_ref"] * 2
    assert table["batch"].tolist() == ["p0", "p1", "p2", "batch_0", "batch_1"]
    assert table["n_obs"].tolist() == [20] * 3 + [30] * 2
    assert table["agreement"].between(-1, 1).all()
    assert table["same_cell_type"].between(0, 1).all()
    assert adata.uns["gw_map"]["params"]["batch_key"] == "plate"
    assert adata.uns["gw_map"]["params"]["batch_key_ref"] == "batch"
    path = tmp_path / f"a.{kind}"
    getattr(adata, f"write_{kind}")(path)
    assert_equal(getattr(ad, f"read_{kind}")(path), adata)


def test_where_batches_are_looked_up(pair, fixed):
    adata, adata_ref = pair

    def sides(**kwargs):
        map_quietly(adata, adata_ref, n_starts=1, **kwargs)
        return adata.uns["gw_map"]["batches"]["side"].tolist()

    assert sides(batch_key="plate") == ["adata"] * 3
    assert sides(batch_key="batch") == ["adata_ref"] * 2
    assert sides(batch_key_ref="batch") == ["adata_ref"] * 2
    adata.obs["batch"] = "one"
    adata.obs.loc[adata.obs_names[:9], "batch"] = "two"
    assert sides(batch_key="batch") == ["adata"] * 2 + ["adata_ref"] * 2
    # a side with a single batch has nothing to leave out
    adata.obs["batch"] = "one"
    assert sides(batch_key="batch") == ["adata_ref"] * 2


def test_the_right_cells_are_left_out(pair, fixed):
    adata, adata_ref = pair
    map_quietly(adata, adata_ref, n_starts=1, batch_key="plate")
    plates = adata.obs["plate"].to_numpy()
    for i, (query, reference) in enumerate(fixed[1]):
        assert len(reference) == 60
        assert len(query) == 40
        assert (i % 2 == 0) == (f"p{i // 2}" not in plates[query])


def test_many_batches_are_left_out_in_groups(pair, fixed, logged):
    adata, adata_ref = pair
    adata.obs["well"] = np.arange(60) // 2
    map_quietly(adata, adata_ref, n_starts=1, batch_key="well")
    assert "    `adata` has 30 batches; they are left out in 20 random groups" in logged
    table = adata.uns["gw_map"]["batches"]
    assert len(table) == 20
    assert table["n_obs"].sum() == 60
    assert sorted(", ".join(table["batch"]).split(", "), key=int) == [str(i) for i in range(30)]
    # in the order of the categories, not of their text
    adata.obs["well"] = pd.Categorical(adata.obs["well"] // 3, categories=range(12))
    map_quietly(adata, adata_ref, n_starts=1, batch_key="well")
    assert adata.uns["gw_map"]["batches"]["batch"].tolist() == [str(i) for i in range(10)]
    assert (adata.uns["gw_map"]["batches"]["n_obs"] == 6).all()


def test_warning_names_the_batches(pair, fixed):
    adata, adata_ref = pair

    def said(agreement):
        fixed[0]["agreement"] = agreement
        fixed[1].clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sae.tl.gw_map(
                adata,
                adata_ref,
                use_rep="X_image",
                n_nulls=0,
                n_starts=1,
                batch_key="plate",
                show_progress_bar=False,
                device="cpu",
            )
        found = [c for c in caught if str(c.message).startswith(("Without", "The map is not stable"))]
        assert all(c.category is SignificanceWarning and c.filename == __file__ for c in found)
        return " ".join(str(c.message) for c in found)

    # a batch and as many random cells, by turns
    assert said([0.9, 0.9] * 3) == ""
    assert said([0.9, 0.9, 0.31, 0.95, 0.7, 0.9]) == (
        "Without 2 of 3 batches the map is another one (agreement below 0.8): 'p1' of `adata` (0.31), 'p2' of `adata`"
        " (0.70). Without as many cells drawn at random it is another one in 0 of 3 refits."
    )
    assert "drawn at random it is another one in 1 of 3 refits" in said([0.1, 0.1, 0.3, 0.9, 0.9, 0.9])
    # random cells matter as much: nothing to say of batches
    assert said([0.9, 0.1, 0.3, 0.9, 0.9, 0.9]) == ""
    assert said([0.1, 0.1, 0.3, 0.2, 0.9, 0.9]) == (
        "The map is not stable: it is another one (agreement below 0.8) without 2 of 3 batches, and in 2 of 3 refits"
        " without as many cells drawn at random."
    )
    assert said([np.nan, np.nan, 0.9, 0.9, 0.9, 0.9]) == ""


def test_cells_of_the_test_are_stratified(pair, monkeypatch):
    from saescape.transport import _reduced

    adata, adata_ref = pair
    adata.obs["plate"] = pd.Categorical(["rare"] * 2 + ["common"] * 58)
    drawn = []
    original = _reduced.stratified

    def stratified(batch, size, rng):
        drawn.append(batch[original(batch, size, rng)])
        return original(batch, size, rng)

    monkeypatch.setattr(_reduced, "N_CELLS", 20)
    monkeypatch.setattr(_reduced, "stratified", stratified)
    map_quietly(adata, adata_ref, n_starts=1, n_nulls=1, batch_key="plate")
    # the rare plate has one of 20 cells, in each draw of the test and in the refits
    counts = [tuple(np.bincount(batch)) for batch in drawn if batch.any()]
    assert len(counts) >= 2
    assert set(counts) == {(19, 1)}


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"batch_key": "donor"}, KeyError, r"`batch_key='donor'`.*`adata.obs` or `adata_ref.obs`.*plate.*batch"),
        ({"batch_key": "donor", "batch_key_ref": "batch"}, KeyError, r"`batch_key='donor'`.*`adata.obs`.*plate"),
        ({"batch_key_ref": "plate"}, KeyError, r"`batch_key_ref='plate'`.*`adata_ref.obs`.*batch"),
        ({"batch_key": "gaps"}, ValueError, r"the batch of 4 cells is missing in `adata.obs\['gaps'\]`"),
        ({"batch_key": "single"}, ValueError, "all cells of a side are of one batch"),
    ],
)
def test_bad_input_changes_nothing(pair, kwargs, error, match):
    adata, adata_ref = pair
    adata.obs["gaps"] = pd.Series(["a", "b", None] * 20, adata.obs_names).where(np.arange(60) % 3 < 2, "c")
    adata.obs.loc[adata.obs_names[:4], "gaps"] = None
    adata.obs["single"] = "a"
    before = adata.copy()
    with pytest.raises(error, match=match):
        map_quietly(adata, adata_ref, **kwargs)
    assert_equal(adata, before)
