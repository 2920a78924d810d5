from __future__ import annotations

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

import saescape as sae
from saescape.imaging.encoders._filters import FilterBank

# the models here are too small to be sparse, and trained for three epochs
pytestmark = pytest.mark.filterwarnings(
    "ignore::saescape._warnings.SignificanceWarning", "ignore::saescape._warnings.ConvergenceWarning"
)


@pytest.fixture(scope="module")
def _adata():
    rng = np.random.default_rng(0)
    labels = np.zeros((80, 120), dtype=int)
    for i in range(24):
        top, left = 20 * (i // 6) + 4, 20 * (i % 6) + 3
        labels[top : top + 12, left : left + 13] = i + 1
    image = (rng.random((2, 80, 120)) * 100 + 400 * rng.random((2, 25))[:, labels]).astype(np.uint16)
    adata = sae.pp.image_to_adata(
        image, labels, crop_size=16, encoder="filters", tokens=True, qc=False, show_progress_bar=False
    )
    adata.obs["line"] = pd.Categorical(["b", "a", "c", "b"] * 6, categories=["c", "b", "a", "unused"])
    sae.tl.sae_fit(adata, 12, use_rep="tokens", k=2, max_epochs=3, show_progress_bar=False, device="cpu")
    return adata


@pytest.fixture
def adata(_adata):
    return _adata.copy()


def most_active(adata, n):
    return np.argsort(-adata.obsm["X_sae"].mean(0).A1)[:n].tolist()


def mapped(adata, *args, **kwargs):
    sae.tl.feature_maps(adata, *args, **kwargs)
    return adata.uns["feature_maps"]


def test_maps_are_the_codes_of_positions_and_average_to_that_of_the_observation(adata):
    numbers = most_active(adata, 3)
    entry = mapped(adata, numbers, n_top=5)
    maps, table = entry["maps"], entry["table"]
    assert maps.shape == (len(table), 8, 8)
    assert maps.dtype == np.float32
    codes = sae.get.sae(adata).transform(adata.obsm["tokens"].reshape(-1, 26)).toarray().reshape(24, 8, 8, 12)
    for one, row in zip(maps, table.itertuples(), strict=True):
        cell = adata.obs_names.get_loc(row.obs_name)
        feature = int(row.feature.removeprefix("sae_"))
        np.testing.assert_allclose(one, codes[cell, :, :, feature], rtol=1e-5, atol=1e-5)
        assert row.activation == pytest.approx(adata.obsm["X_sae"][cell, feature])
    np.testing.assert_allclose(maps.mean((1, 2)), table["activation"], rtol=1e-4)
    np.testing.assert_allclose(maps.max((1, 2)), table["highest"])


def test_of_sparse_inference_too(adata):
    sae.tl.sae_transform(adata, adata, inference="omp", key_added="omp", show_progress_bar=False)
    entry = mapped(adata, [f"sae_{i}" for i in most_active(adata, 3)], key="omp", n_top=4)
    np.testing.assert_allclose(entry["maps"].mean((1, 2)), entry["table"]["activation"], rtol=1e-4)
    assert entry["params"]["key"] == "omp"
    by_encoder = mapped(adata, most_active(adata, 3), n_top=4)
    assert not np.array_equal(entry["maps"], by_encoder["maps"])


def test_positions_lie_where_the_pixels_are():
    image = np.random.default_rng(0).normal(100, 5, (1, 64, 64))
    spots = [(5, 9), (40, 8), (20, 55), (60, 36)]
    for row, column in spots:
        image[0, row - 2 : row + 3, column - 2 : column + 3] += 800
    adata = sae.pp.image_to_adata(
        image.astype(np.uint16), tile_size=32, encoder="filters", tokens=True, qc=False, show_progress_bar=False
    )
    sae.tl.sae_fit(adata, 16, use_rep="tokens", k=1, max_epochs=30, show_progress_bar=False, device="cpu")
    brightest = int(sae.get.sae(adata).transform(adata.obsm["tokens"][0, [1 * 8 + 2]]).argmax())
    entry = mapped(adata, brightest)
    assert len(entry["maps"]) == 4
    for one, name in zip(entry["maps"], entry["table"]["obs_name"], strict=True):
        top, left = (int(adata.obs.loc[name, axis] - 16) for axis in ("row", "col"))
        (spot,) = [(r - top, c - left) for r, c in spots if 0 <= r - top < 32 and 0 <= c - left < 32]
        assert np.unravel_index(one.argmax(), one.shape) == (spot[0] // 4, spot[1] // 4)


def test_top_and_range(adata):
    number = most_active(adata, 1)[0]
    values = adata.obsm["X_sae"][:, [number]].toarray()[:, 0].astype(float)
    order = [i for i in np.argsort(-values, kind="stable") if values[i] > 0]
    assert len(order) > 8
    table = mapped(adata, number, n_top=4)["table"]
    assert table["obs_name"].tolist() == adata.obs_names[order[:4]].tolist()
    assert table["rank"].tolist() == [0, 1, 2, 3]
    assert table["group"].unique().tolist() == ["all"]
    table = mapped(adata, number, n_top=4, exemplars="range")["table"]
    assert table["obs_name"].iloc[[0, 3]].tolist() == adata.obs_names[[order[0], order[-1]]].tolist()
    assert table["activation"].is_monotonic_decreasing
    assert len(mapped(adata, number, n_top=100)["table"]) == len(order)


def test_groups(adata):
    adata.obs.loc[adata.obs_names[:3], "line"] = np.nan
    numbers = most_active(adata, 2)
    table = mapped(adata, numbers, n_top=2, groupby="line")["table"]
    # as in the column, not sorted
    assert table["group"].cat.categories.tolist() == ["c", "b", "a", "unused"]
    assert table["feature"].drop_duplicates().tolist() == [f"sae_{i}" for i in numbers]
    assert (table["group"].to_numpy() == adata.obs.loc[table["obs_name"], "line"].to_numpy()).all()
    for (feature, group), part in table.groupby(["feature", "group"], observed=True):
        of_group = adata[adata.obs["line"] == group].obsm["X_sae"][:, [int(feature.removeprefix("sae_"))]]
        expected = np.sort(of_group.toarray()[:, 0])[::-1][:2]
        np.testing.assert_allclose(part["activation"], expected[expected > 0])
        assert part["rank"].tolist() == list(range(len(part)))


def test_numbers_and_booleans_are_groups_too(adata):
    adata.obs["plate"] = np.arange(24) % 2
    adata.obs["treated"] = adata.obs["plate"] == 1
    first = mapped(adata, most_active(adata, 1), n_top=1, groupby="plate")["table"]
    second = mapped(adata, most_active(adata, 1), n_top=1, groupby="treated")["table"]
    assert first["group"].tolist() == ["0", "1"]
    assert second["group"].tolist() == ["False", "True"]
    assert first["obs_name"].tolist() == second["obs_name"].tolist()


def test_a_feature_that_is_nowhere_active_is_left_out(adata):
    codes = adata.obsm["X_sae"].tolil()
    silent, active = most_active(adata, 2)
    codes[:, silent] = 0
    adata.obsm["X_sae"] = codes.tocsr()
    table = mapped(adata, [silent, active], n_top=2)["table"]
    assert set(table["feature"]) == {f"sae_{active}"}
    with pytest.raises(ValueError, match=f"`features`: none of .*sae_{silent}.* is active in any observation"):
        sae.tl.feature_maps(adata, silent)


def test_features_by_name_number_and_twice(adata):
    first, second = most_active(adata, 2)
    expected = mapped(adata, [first, second], n_top=2)
    for given in ([f"sae_{first}", f"sae_{second}"], np.array([first, second]), (first, f"sae_{second}", first)):
        np.testing.assert_array_equal(mapped(adata, given, n_top=2)["maps"], expected["maps"])


def test_subset_and_lazy_tokens(adata):
    number = most_active(adata, 1)[0]
    lazy = adata.copy()
    lazy.obsm["tokens"] = da.from_array(adata.obsm["tokens"], chunks=(5, 64, 26))
    np.testing.assert_allclose(mapped(lazy, number)["maps"], mapped(adata, number)["maps"], rtol=1e-5, atol=1e-6)
    part = adata[5:15].copy()
    table = mapped(part, number, n_top=3)["table"]
    assert set(table["obs_name"]) <= set(part.obs_names)
    np.testing.assert_allclose(part.uns["feature_maps"]["maps"].mean((1, 2)), table["activation"], rtol=1e-4)


@pytest.mark.parametrize("mask_crops", [False, True])
def test_maps_are_of_the_crops_that_can_be_cut_again(mask_crops):
    rng = np.random.default_rng(1)
    labels = np.zeros((48, 48), dtype=int)
    labels[4:20, 4:20], labels[22:40, 20:44] = 1, 2
    adata = sae.pp.image_to_adata(
        rng.poisson(100, (2, 48, 48)).astype(np.uint16),
        labels,
        crop_size=24,
        mask_crops=mask_crops,
        encoder="filters",
        tokens=True,
        qc=False,
        show_progress_bar=False,
    )
    sae.tl.sae_fit(adata, 8, use_rep="tokens", k=2, max_epochs=2, show_progress_bar=False, device="cpu")
    entry = mapped(adata, range(8))
    crops = sae.get.crops(adata, entry["table"]["obs_name"])
    assert (crops[:, :, 0] == 0).all() == mask_crops
    tokens = FilterBank()(torch.from_numpy(crops)).flatten(2).transpose(1, 2).reshape(-1, 26)
    codes = sae.get.sae(adata).transform(tokens.numpy()).toarray().reshape(len(crops), 8, 8, 8)
    for one, found, feature in zip(codes, entry["maps"], entry["table"]["feature"], strict=True):
        np.testing.assert_allclose(found, one[:, :, int(feature.removeprefix("sae_"))], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_round_trip(adata, tmp_path, kind):
    entry = mapped(adata, most_active(adata, 2), n_top=3, groupby="line")
    path = tmp_path / f"adata.{kind}"
    getattr(adata, f"write_{kind}")(path)
    back = getattr(ad, f"read_{kind}")(path)
    np.testing.assert_array_equal(back.uns["feature_maps"]["maps"], entry["maps"])
    pd.testing.assert_frame_equal(
        back.uns["feature_maps"]["table"], entry["table"], check_dtype=False, check_categorical=False
    )
    again = mapped(back, most_active(adata, 2), n_top=3, groupby="line")
    np.testing.assert_array_equal(again["maps"], entry["maps"])
    assert sae.pl.feature_maps(back, show=False).shape[0] % 2 == 0


def test_slot_and_copy(adata):
    number = most_active(adata, 1)[0]
    before = set(adata.uns)
    changed = sae.tl.feature_maps(adata, number, n_top=2, key_added="mine", copy=True)
    assert set(adata.uns) == before
    assert set(changed.uns) - before == {"mine"}
    assert set(changed.uns["mine"]) == {"maps", "table", "params"}
    assert changed.uns["mine"]["table"].columns.tolist() == [
        "feature",
        "obs_name",
        "group",
        "rank",
        "activation",
        "highest",
    ]
    assert set(changed.uns["mine"]["params"]) == {"key", "n_top", "exemplars", "groupby", "version"}
    assert sae.tl.feature_maps(adata, number, n_top=2) is None
    np.testing.assert_array_equal(adata.uns["feature_maps"]["maps"], changed.uns["mine"]["maps"])


def test_bad_input(adata):
    before = set(adata.uns)
    bad = [
        ({"features": "sae_99"}, KeyError, "there is no feature 'sae_99'; the 12 features"),
        ({"features": 12}, ValueError, "`features` must be between 0 and `number of features - 1`"),
        ({"features": 1.5}, TypeError, "`features` must be an integer, found 1.5"),
        ({"features": True}, TypeError, "`features` must be an integer"),
        ({"features": []}, ValueError, "`features` is empty"),
        ({"features": 0, "n_top": 0}, ValueError, "`n_top` must be at least 1"),
        ({"features": 0, "exemplars": "best"}, ValueError, "`exemplars` must be one of"),
        ({"features": 0, "groupby": "nothing"}, KeyError, "`groupby='nothing'`"),
        ({"features": 0, "key": "nothing"}, KeyError, "`key='nothing'`"),
    ]
    for arguments, error, text in bad:
        with pytest.raises(error, match=text):
            sae.tl.feature_maps(adata, **arguments)
    adata.obs["empty"] = pd.Categorical([None] * 24)
    with pytest.raises(ValueError, match="`groupby`: every value"):
        sae.tl.feature_maps(adata, 0, groupby="empty")
    with pytest.raises(TypeError, match="`adata` must be an AnnData"):
        sae.tl.feature_maps(adata.X, 0)
    assert set(adata.uns) == before


def test_needs_tokens(adata):
    sae.tl.sae_fit(adata, 8, k=2, max_epochs=1, show_progress_bar=False, key_added="pooled", device="cpu")
    with pytest.raises(ValueError, match=r"`use_rep=None`, which holds no tokens of images; fit one by"):
        sae.tl.feature_maps(adata, 0, key="pooled")
    other = adata.copy()
    other.obsm["tokens"] = other.obsm["tokens"][:, :, :5]
    with pytest.raises(ValueError, match=r"has 26 inputs and 12 features, but `adata.obsm\['tokens'\]` has 5"):
        sae.tl.feature_maps(other, 0)
    del adata.obsm["tokens"]
    with pytest.raises(ValueError, match="holds no tokens of images"):
        sae.tl.feature_maps(adata, 0)
    del adata.uns["sae"]
    with pytest.raises(KeyError, match=r"sae.tl.sae_fit\(adata\)"):
        sae.tl.feature_maps(adata, 0)


def test_maps_find_planted_motifs_in_other_fields():
    """One feature per concept, chosen on one field, drawn on the other: AUROC of its maps over all pixels.

    A test of maps, not of training: most pixels are background, and dictionaries that were never trained come to .89 to
    .98 here as well. Harder questions are in `benchmarks/feature_maps.py`.
    """
    fields = sae.datasets.neurons(2, size=256, n_cells=6, n_concepts=6, n_ref=None)

    def tiles(name):
        adata = sae.pp.image_to_adata(
            {name: fields.images[name][:4]},
            tile_size=32,
            encoder="filters",
            tokens=True,
            qc=False,
            show_progress_bar=False,
        )
        masks = fields.concept_masks[name].reshape(6, 8, 32, 8, 32).transpose(1, 3, 0, 2, 4).reshape(64, 6, 32, 32)
        return adata, masks

    train, masks = tiles("field_0")
    sae.tl.sae_fit(train, 64, use_rep="tokens", k=8, show_progress_bar=False, device="cpu")
    test, test_masks = tiles("field_1")
    sae.tl.sae_transform(test, train, show_progress_bar=False)

    def maps_of(adata, features):
        entry = mapped(adata, features, n_top=64)
        maps = np.zeros((64, 64, 8, 8))
        feature = entry["table"]["feature"].astype(str).str.removeprefix("sae_").astype(int)
        maps[feature, adata.obs_names.get_indexer(entry["table"]["obs_name"])] = entry["maps"]
        return maps.repeat(4, 2).repeat(4, 3).reshape(64, -1)

    drawn = maps_of(train, range(64))
    scores = []
    for i in range(6):
        truth = masks[:, i].ravel()
        alive = np.flatnonzero(drawn.any(1))
        best = alive[np.argmax([roc_auc_score(truth, drawn[j]) for j in alive])]
        scores.append(roc_auc_score(test_masks[:, i].ravel(), maps_of(test, best)[best]))
    assert np.mean(scores) > 0.95
    assert min(scores) > 0.9
