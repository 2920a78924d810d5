from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from scipy import ndimage, stats
from sklearn.metrics import roc_auc_score

import saescape as sae

SMALL = {"size": 256, "n_cells": 6, "n_ref": None}
DEATH = 4


@pytest.fixture(scope="module")
def fields():
    return sae.datasets.neurons(2, **SMALL)


@pytest.fixture(scope="module")
def clean():
    """The same cells without noise, uneven light or plates."""
    return sae.datasets.neurons(2, **SMALL, noise=0.0, illumination=0.0)


def channels(fields, k):
    return [fields.channel_names.index(name) for name in fields.truth.var["channels"].iloc[k].split("+")]


def test_layout_of_the_result(fields):
    assert fields.channel_names == ["nuclei", "neurites", "mitochondria", "lysosomes", "death"]
    assert list(fields.images) == list(fields.labels) == list(fields.nuclei) == ["field_0", "field_1"]
    assert list(fields.concept_masks) == list(fields.obs.index) == list(fields.images)
    for name, image in fields.images.items():
        assert image.shape == (5, 256, 256)
        assert image.dtype == np.uint16
        assert fields.labels[name].dtype == fields.nuclei[name].dtype == np.int32
        assert fields.concept_masks[name].shape == (12, 256, 256)
        assert fields.concept_masks[name].dtype == bool
        n = fields.obs.loc[name, "n_cells"]
        np.testing.assert_array_equal(np.unique(fields.labels[name]), np.arange(n + 1))
        np.testing.assert_array_equal(np.unique(fields.nuclei[name]), np.arange(n + 1))
        # a nucleus is a part of its own cell, and a cell is in one piece
        inside = fields.nuclei[name] > 0
        np.testing.assert_array_equal(fields.labels[name][inside], fields.nuclei[name][inside])
        assert all(ndimage.label(fields.labels[name] == i, np.ones((3, 3)))[1] == 1 for i in range(1, n + 1))
    for column in ("condition", "line", "plate", "well"):
        of_cells = fields.truth.obs.groupby("region", observed=True)[column].unique()
        assert all(list(of_cells[name]) == [fields.obs.loc[name, column]] for name in fields.images)
    assert fields.rna is None
    assert fields.boxes is None


def test_counts_are_the_separate_motifs_inside_each_cell(fields):
    for name, labels in fields.labels.items():
        masks = fields.concept_masks[name]
        assert not masks[:, labels == 0].any()
        cells = fields.truth[fields.truth.obs["region"] == name]
        nuclear = (cells.var["place"] == "nucleus").to_numpy()
        assert not masks[nuclear][:, fields.nuclei[name] == 0].any()
        found = [
            [ndimage.label(mask & (labels == i), np.ones((3, 3)))[1] for mask in masks]
            for i in cells.obs["instance_id"]
        ]
        np.testing.assert_array_equal(cells.X, found)
    assert fields.truth.X.sum() > 100


def test_numbers_of_motifs_are_poisson_about_their_rates():
    fields = sae.datasets.neurons(4, **SMALL, n_concepts=2, n_motifs=2.0, heterogeneity=np.inf)
    truth = fields.truth
    assert truth.uns["neurons"]["placed"] == 1
    expected = truth.layers["rates"].sum(0)
    assert (np.abs(truth.X.sum(0) - expected) < 4 * np.sqrt(expected)).all()
    chi = ((truth.X - truth.layers["rates"]) ** 2 / truth.layers["rates"]).mean()
    assert 0.6 < chi < 1.5


@pytest.mark.parametrize("noisy", [False, True])
def test_motifs_are_seen_where_their_masks_are(fields, clean, noisy):
    chosen = fields if noisy else clean
    assert all((fields.concept_masks[name] == clean.concept_masks[name]).all() for name in fields.images)
    n_concepts = chosen.truth.n_vars
    for k in range(n_concepts):
        inside, light = [], []
        for name, image in chosen.images.items():
            masks = chosen.concept_masks[name]
            region = chosen.nuclei[name] if chosen.truth.var["place"].iloc[k] == "nucleus" else chosen.labels[name]
            shared = [j for j in range(n_concepts) if j != k and set(channels(chosen, j)) & set(channels(chosen, k))]
            use = (region > 0) & (masks[k] | ~masks[shared].any(0))
            inside.append(masks[k][use])
            light.append(image[channels(chosen, k)].astype(float).sum(0)[use])
        auroc = roc_auc_score(np.concatenate(inside), np.concatenate(light))
        assert auroc > (0.85 if noisy else 0.9), (k, auroc)


def test_a_lonely_motif_is_exactly_in_its_mask():
    sharp = {"noise": 0.0, "illumination": 0.0, "blur": 0.0, "n_concepts": 1}
    one = sae.datasets.neurons(1, **SMALL, **sharp, n_motifs=3.0)
    none = sae.datasets.neurons(1, **SMALL, **sharp, n_motifs=1e-9)
    assert none.truth.X.sum() == 0
    change = one.images["field_0"].astype(int) - none.images["field_0"]
    assert not change[[0, 1, 2, 4]].any()
    inside = one.concept_masks["field_0"][0]
    assert change[3][inside].min() > 500
    # soft edges reach one pixel further
    assert not change[3][~ndimage.binary_dilation(inside, np.ones((3, 3)))].any()


def test_settings_of_the_camera_change_nothing_else(fields, clean):
    np.testing.assert_array_equal(fields.truth.X, clean.truth.X)
    assert all((fields.labels[name] == clean.labels[name]).all() for name in fields.images)
    difference = fields.images["field_0"].astype(float) - clean.images["field_0"]
    assert np.abs(difference[DEATH][fields.labels["field_0"] == 0]).std() > 3
    again = sae.datasets.neurons(2, **SMALL, noise=0.0, illumination=0.5)
    ratio = (again.images["field_0"] - 200.0) / (clean.images["field_0"] - 200.0)
    centre, corner = ratio[:, 118:138, 118:138].mean(), ratio[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean()
    assert centre > 0.95
    assert corner < 0.8


def test_plates_differ_only_when_asked_and_by_the_known_gain(clean):
    assert (clean.truth.uns["neurons"]["gain"] == 1).all()
    assert (clean.truth.uns["neurons"]["offset"] == 0).all()
    other = sae.datasets.neurons(2, **SMALL, noise=0.0, illumination=0.0, plate_effect=0.4)
    gain, offset = other.truth.uns["neurons"]["gain"], other.truth.uns["neurons"]["offset"]
    assert np.log(gain).std() > 0.1
    assert other.obs["plate"].nunique() == 2
    for name, image in other.images.items():
        plate = int(other.obs.loc[name, "plate"].removeprefix("plate_"))
        expected = (clean.images[name] - 200.0) * gain[plate][:, None, None] + 200 + offset[plate][:, None, None]
        np.testing.assert_allclose(image, np.clip(expected, 0, 65535), atol=2)


def test_projected_stack_resembles_the_plane_in_focus(clean):
    stack = sae.datasets.neurons(1, **SMALL, noise=0.0, illumination=0.0, n_planes=3)
    single = sae.datasets.neurons(1, **SMALL, noise=0.0, illumination=0.0)
    np.testing.assert_array_equal(stack.labels["field_0"], single.labels["field_0"])
    np.testing.assert_array_equal(stack.truth.X, single.truth.X)
    image, flat = stack.images["field_0"], single.images["field_0"]
    assert image.shape == (5, 3, 256, 256)
    for c in range(5):
        assert np.corrcoef(image[c].max(0).ravel(), flat[c].ravel())[0, 1] > 0.9
        # a plane holds a part of what is in focus only
        assert np.abs(np.diff(image[c].astype(float), axis=-1)).mean() < np.abs(np.diff(flat[c].astype(float))).mean()


@pytest.mark.parametrize(("noise", "tolerance"), [(0.0, 0.005), (1.0, 0.01)])
def test_death_is_the_share_of_the_nucleus_above_the_threshold(noise, tolerance):
    fields = sae.datasets.neurons(2, **SMALL, noise=noise, death_zeros=0.4)
    threshold = fields.truth.uns["neurons"]["death_threshold"]
    found = np.concatenate(
        [
            ndimage.mean(
                fields.images[name][DEATH] >= threshold, fields.nuclei[name], range(1, fields.obs.n_cells[name] + 1)
            )
            for name in fields.images
        ]
    )
    death = fields.truth.obs["cell_death"].to_numpy()
    assert np.abs(found - death).mean() < tolerance
    assert np.abs(found - death).max() < 0.06
    assert (found[death == 0] == 0).all()
    assert (death == 0).any()
    assert (death > 0.1).any()


def test_image_to_adata_gives_the_rows_of_the_truth(fields):
    adata = sae.pp.image_to_adata(
        fields.images, fields.labels, channel_names=fields.channel_names, encoder="features", show_progress_bar=False
    )
    assert list(adata.obs_names) == list(fields.truth.obs_names)
    np.testing.assert_allclose(adata.obsm["spatial"], fields.truth.obsm["spatial"])
    np.testing.assert_array_equal(adata.obs["instance_id"], fields.truth.obs["instance_id"])
    assert list(adata.obs["region"]) == list(fields.truth.obs["region"])


def test_concepts_and_death_follow_their_roles():
    truth = sae.datasets.neurons(40, size=128, n_cells=2, n_concepts=10, heterogeneity=np.inf, n_ref=None).truth
    rates, time = truth.layers["rates"], truth.obs["time"]
    role = truth.var["role"]
    up, down = np.flatnonzero(role == "time_up"), np.flatnonzero(role == "time_down")
    assert len(up)
    assert len(down)
    assert all(stats.spearmanr(rates[:, k], time)[0] > 0.5 for k in up)
    assert all(stats.spearmanr(rates[:, k], time)[0] < -0.5 for k in down)
    dying = truth.obs["cell_death"] > 0
    assert stats.spearmanr(truth.obs["cell_death"][dying], time[dying])[0] > 0.4


def test_rna_modules_follow_their_concepts():
    fields = sae.datasets.neurons(1, size=128, n_cells=2, n_concepts=6, n_ref=200, n_genes=200)
    rna = fields.rna
    assert rna.shape == (200, 200)
    counts = rna.layers["counts"].toarray()
    np.testing.assert_array_equal(counts, np.rint(counts))
    # more than Poisson: dispersion 0.3
    free = counts[:, (rna.var["concept"] == "none").to_numpy()]
    high = free[:, free.mean(0) > 3]
    assert (high.var(0) > 1.3 * high.mean(0)).mean() > 0.9
    x = rna.X.toarray()
    for k, concept in enumerate(fields.truth.var_names):
        module = (rna.var["concept"] == concept).to_numpy()
        assert 10 <= module.sum() <= 30
        correlation = np.array([stats.spearmanr(x[:, module].mean(1), r)[0] for r in rna.obsm["concepts"].T])
        assert correlation.argmax() == k
        assert correlation[k] > 0.7
    assert set(rna.obs["well"]) == {f"well_{i}" for i in range(8)}


def test_deterministic_and_writes(fields, tmp_path, global_state):
    again = sae.datasets.neurons(2, **SMALL)
    np.testing.assert_array_equal(again.images["field_1"], fields.images["field_1"])
    np.testing.assert_array_equal(again.truth.layers["rates"], fields.truth.layers["rates"])
    assert not np.array_equal(sae.datasets.neurons(1, **SMALL, rng=1).images["field_0"], fields.images["field_0"])
    fields.truth.write_h5ad(tmp_path / "truth.h5ad")
    back = ad.read_h5ad(tmp_path / "truth.h5ad")
    np.testing.assert_array_equal(back.uns["neurons"]["gain"], fields.truth.uns["neurons"]["gain"])
    assert list(back.var["motif"]) == list(fields.truth.var["motif"])


def test_the_whole_catalogue_can_be_drawn():
    fields = sae.datasets.neurons(2, **SMALL, n_concepts=24, n_motifs=2.0)
    assert (fields.truth.X.sum(0) > 0).all()
    assert len(fields.truth.var[["motif", "channels", "radius", "extent"]].drop_duplicates()) >= 23
    # cells that do not fit are left out
    crowded = sae.datasets.neurons(1, size=128, n_cells=50, n_ref=None)
    assert 1 <= crowded.obs.n_cells.iloc[0] < 10


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"n_fields": 0}, ValueError, "`n_fields` must be at least 1"),
        ({"n_fields": 2.0}, TypeError, "`n_fields` must be an integer"),
        ({"size": 40}, ValueError, "`size` must be at least 96"),
        ({"n_concepts": 25}, ValueError, "`n_concepts` must be between 1 and 24"),
        ({"n_motifs": 0}, ValueError, "`n_motifs` must be greater than 0"),
        ({"illumination": 1.0}, ValueError, "`illumination` must be at least 0 and less than 1"),
        ({"noise": -1}, ValueError, "`noise` must be at least 0"),
        ({"n_planes": 0}, ValueError, "`n_planes` must be at least 1"),
        ({"death_zeros": 1.2}, ValueError, "`death_zeros`"),
        ({"heterogeneity": 0}, ValueError, "`heterogeneity` must be greater than 0"),
        ({"time_share": 0.9, "plate_share": 0.9}, ValueError, "must not exceed 1"),
        ({"n_lines": 9}, ValueError, "`n_lines` 9 per condition do not fit"),
        ({"n_genes": 100}, ValueError, "`n_genes` must be at least 120"),
        ({"n_ref": 0}, ValueError, "`n_ref` must be at least 1"),
    ],
)
def test_bad_input(kwargs, error, match):
    with pytest.raises(error, match=match):
        sae.datasets.neurons(**kwargs)
