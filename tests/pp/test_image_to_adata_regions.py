from __future__ import annotations

import anndata as ad
import dask.array as da
import numpy as np
import pytest
import tifffile
from skimage.measure import label, regionprops_table

import saescape as sae


def to_adata(*args, **kwargs):
    return sae.pp.image_to_adata(*args, show_progress_bar=False, **kwargs)


@pytest.fixture
def nuclei(field):
    """A nucleus in most cells; cell 3 has two, 5 and 6 have none; ids are those of no cell."""
    _, labels = field
    rows, cols = np.mgrid[:200, :260]
    found = np.zeros_like(labels)
    for cell in range(1, 41):
        y, x = np.nonzero(labels == cell)
        if cell not in (5, 6):
            found[(rows - y.mean()) ** 2 + (cols - x.mean()) ** 2 < 9] = 100 + cell
        if cell == 3:
            found[y.min() + 1, int(x[y == y.min() + 1].mean())] = 900
    found[(found > 0) & (labels == 0)] = 0
    return found


def test_compartments_are_measured_inside_their_cells(field, nuclei):
    image, labels = field
    given = {"nucleus": nuclei, "cytoplasm": "rest"}
    adata = to_adata(image, labels, compartments=given, features=["intensity"], channel_names=["a", "b", "c"])
    assert adata.obs["n_nucleus"].tolist() == [1, 1, 2, 1, 0, 0] + [1] * 34
    np.testing.assert_array_equal(adata.obs["has_nucleus"], adata.obs["n_nucleus"] > 0)
    assert adata.obs["has_cytoplasm"].all()
    for name, inside in (("nucleus", nuclei > 0), ("cytoplasm", nuclei == 0)):
        parts = np.where(inside, labels, 0)
        table = regionprops_table(parts, np.moveaxis(image, 0, -1), properties=("label", "intensity_mean"))
        rows = table["label"] - 1
        for i, channel in enumerate("abc"):
            found = adata[:, f"{name}_{channel}_mean"].X[:, 0]
            np.testing.assert_allclose(found[rows], table[f"intensity_mean-{i}"], rtol=1e-5)
            assert np.isnan(np.delete(found, rows)).all()
    plain = to_adata(image, labels, features=["intensity"], channel_names=["a", "b", "c"])
    np.testing.assert_array_equal(adata[:, plain.var_names].X, plain.X)


@pytest.mark.parametrize("source", ["dask", "file", "fields"])
def test_compartments_from_any_source_and_in_any_blocks(field, nuclei, source, tmp_path):
    image, labels = field
    given = {"nucleus": nuclei, "cytoplasm": "rest"}
    whole = to_adata(image, labels, compartments=given)
    if source == "dask":
        lazy = [da.from_array(one, chunks=(70, 90)) for one in (labels, nuclei)]
        other = to_adata(image, lazy[0], compartments={"nucleus": lazy[1], "cytoplasm": "rest"}, chunks=41)
    elif source == "file":
        for name, one in (("cells", labels), ("nuclei", nuclei)):
            tifffile.imwrite(tmp_path / f"{name}.tif", one.astype(np.uint16), compression="zlib")
        paths = {"nucleus": tmp_path / "nuclei.tif", "cytoplasm": "rest"}
        other = to_adata(image, tmp_path / "cells.tif", compartments=paths, chunks=64)
    else:
        parts = {"nucleus": {"w": nuclei}, "cytoplasm": "rest"}
        other = to_adata({"w": image}, {"w": labels}, compartments=parts, chunks=100)
    assert other.var_names.tolist() == whole.var_names.tolist()
    np.testing.assert_allclose(other.X, whole.X, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(other.obs["n_nucleus"], whole.obs["n_nucleus"])


def test_compartments_survive_a_file(field, nuclei, tmp_path):
    image, labels = field
    far = nuclei.copy()
    far[labels == 0] = np.where(np.arange(260) % 10 < 3, 5000, 0)[np.newaxis].repeat(200, 0)[labels == 0]
    adata = to_adata(image, labels, compartments={"nucleus": far}, encoder="filters", min_area=300)
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    entry = back.uns["image_to_adata"]["fields"]["image"]
    assert entry["n_removed"] == 40 - adata.n_obs
    removed = [cell for cell in range(1, 41) if np.sum(labels == cell) < 300]
    n_left = sum(cell not in (5, 6) for cell in removed) + (3 in removed)
    assert entry["n_unmatched_nucleus"] == 1 + n_left
    assert list(back.uns["image_to_adata"]["params"]["compartments"]) == ["nucleus"]


def test_labels_filtered_by_area(field, monkeypatch):
    image, labels = field
    area = np.bincount(labels.ravel())[1:]
    everything = to_adata(image, labels, normalize="dtype")
    kept = (area >= 300) & (area <= 500)
    adata = to_adata(image, labels, min_area=300, max_area=500, normalize="dtype")
    assert adata.obs_names.tolist() == everything.obs_names[kept].tolist()
    np.testing.assert_allclose(adata.X, everything.X[kept], rtol=1e-6)
    params = adata.uns["image_to_adata"]["params"]
    assert (params["min_area"], params["max_area"]) == (300, 500)
    crops = [to_adata(image, labels, encoder="filters", **limits) for limits in ({}, {"min_area": 300})]
    np.testing.assert_array_equal(sae.get.crops(crops[1]), sae.get.crops(crops[0][area >= 300]))
    with pytest.warns(UserWarning, match="binary masks"):
        mask = to_adata(image, labels > 0, min_area=300)
    assert mask.n_obs == np.sum(np.bincount(label(labels > 0).ravel())[1:] >= 300)


def test_padded_tiles(field):
    image, _ = field
    padded, dropped = to_adata(image, tile_size=64, edge="pad"), to_adata(image, tile_size=64)
    assert (padded.n_obs, dropped.n_obs) == (4 * 5, 3 * 4)
    inside = ~padded.obs["touches_border"].to_numpy()
    np.testing.assert_array_equal(padded.obs["area"].to_numpy() == 64**2, inside)
    np.testing.assert_array_equal(padded.obsm["spatial"][inside], dropped.obsm["spatial"])
    assert padded.obs["area"].sum() == 200 * 260
    last = padded[-1]
    assert last.obs["area"].item() == 8 * 4
    np.testing.assert_allclose(last[:, "channel_1_mean"].X.item(), image[1, 192:, 256:].mean(), rtol=1e-5)
    assert last.obsm["spatial"].tolist() == [[257.5, 195.5]]
    crop = sae.get.crops(to_adata(image, tile_size=64, edge="pad", encoder="filters"))[-1]
    assert crop.shape == (3, 64, 64)
    assert crop[:, :8, :4].any()
    assert not crop[:, 8:].any()
    assert not crop[:, :, 4:].any()
    blocks = to_adata(image, tile_size=64, edge="pad", chunks=32)
    np.testing.assert_allclose(blocks.X, padded.X, rtol=1e-5, atol=1e-5)
    assert to_adata(image, tile_size=300, edge="pad").n_obs == 1


def test_same_ids_in_several_fields_are_different_objects(field):
    image, labels = field
    adata = to_adata({"a": image, "a_1": image}, {"a": labels, "a_1": labels})
    assert adata.obs_names.is_unique
    assert not adata.obs[["region", "instance_id"]].duplicated().any()
    assert adata.obs["instance_id"].value_counts().unique().tolist() == [2]
    np.testing.assert_array_equal(adata.X[:40], adata.X[40:])


def test_ids_used_twice_in_a_stitched_image_are_told(field):
    image, labels = field
    left, right = labels[:, :130], labels[:, 130:]
    # tiles that were numbered on their own
    tiled = np.concatenate([left, np.where(right > 0, (right - 1) % 8 + 1, 0)], axis=1)
    with pytest.warns(UserWarning, match=r"6 of 26 labels consist of several pieces, .* 'image' for example \[4, 5"):
        adata = to_adata(image, tiled, features=["intensity"])
    assert adata.n_obs == len(np.unique(tiled)) - 1


IMAGE = np.zeros((2, 40, 50), dtype=np.uint16)
LABELS = np.eye(40, 50, dtype=int) * 3
RIGHT = {"nucleus": LABELS}


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "match"),
    [
        ((IMAGE, np.pad(LABELS, 5)), {}, ValueError, r"`labels` has shape \(50, 60\), but its image is \(40, 50\)"),
        ((IMAGE, LABELS[::2, ::2]), {}, ValueError, "2 times lower resolution"),
        (([IMAGE] * 2, [LABELS, LABELS.T]), {}, ValueError, r"`labels\[1\]` .* after transposing"),
        (([IMAGE] * 2, [LABELS, LABELS * 0.5]), {}, TypeError, r"`labels\[1\]` .* \(is it a probability map\?\)"),
        (([IMAGE] * 2, [LABELS, -LABELS]), {}, ValueError, r"`labels\[1\]` has 40 negative labels"),
        ((IMAGE, da.from_array(-LABELS)), {}, ValueError, "`labels` has 40 negative labels"),
        ((IMAGE, LABELS.astype(object)), {}, TypeError, "found dtype object"),
        ((IMAGE, LABELS), {"min_area": 41}, ValueError, "`labels` has no label left: .* remove all 1"),
        ((IMAGE, LABELS), {"min_area": 0}, ValueError, "`min_area` must be above 0 pixels, found 0"),
        ((IMAGE, LABELS), {"max_area": "big"}, TypeError, "`max_area` must be a number of pixels or None"),
        ((IMAGE, LABELS), {"max_area": float("nan")}, ValueError, "`max_area` must be above 0"),
        ((IMAGE, LABELS), {"min_area": 9, "max_area": 8}, ValueError, r"`min_area` \(9\) must not be above"),
        ((IMAGE,), {"min_area": 9}, ValueError, "`min_area` is about the area of labels and needs `labels`"),
        ((IMAGE,), {"edge": "pad"}, ValueError, "needs `tile_size`"),
        ((IMAGE,), {"tile_size": 8, "edge": "wrap"}, ValueError, "`edge` must be one of"),
        ((IMAGE,), {"compartments": RIGHT}, ValueError, "parts of labels and need `labels`"),
        ((IMAGE, LABELS), {"compartments": [LABELS]}, TypeError, "must be a dict of names and label images"),
        ((IMAGE, LABELS), {"compartments": {"c": "rest"}}, ValueError, "beside others"),
        (
            (IMAGE, LABELS),
            {"compartments": {"nucleus": LABELS[1:]}},
            ValueError,
            r"`compartments\['nucleus'\]` has shape \(39, 50\)",
        ),
        (
            ([IMAGE] * 2, [LABELS] * 2),
            {"compartments": {"nucleus": [LABELS, LABELS / 3]}},
            TypeError,
            r"`compartments\['nucleus'\]\[1\]` must hold integers",
        ),
        (([IMAGE] * 2, [LABELS] * 2), {"compartments": RIGHT}, ValueError, r"`compartments\['nucleus'\]` must be"),
        (({"a": IMAGE}, {"a": LABELS}), {"compartments": {"n": {"b": LABELS}}}, ValueError, "same keys"),
    ],
)
def test_errors_of_labels_and_tiles(args, kwargs, error, match):
    with pytest.raises(error, match=match):
        to_adata(*args, **kwargs)


def test_compartments_of_spatialdata(field, nuclei):
    from spatialdata import SpatialData
    from spatialdata.models import Image2DModel, Labels2DModel

    image, labels = field
    sdata = SpatialData(
        images={"raw": Image2DModel.parse(image, dims=("c", "y", "x"))},
        labels={
            "cells": Labels2DModel.parse(labels, dims=("y", "x")),
            "nuclei": Labels2DModel.parse(nuclei, dims=("y", "x")),
        },
    )
    given = {"nucleus": "nuclei", "cytoplasm": "rest"}
    found = to_adata(sdata, labels_key="cells", compartments=given, features=["intensity"])
    direct = to_adata(
        image, labels, compartments={**given, "nucleus": nuclei}, features=["intensity"], channel_names=["0", "1", "2"]
    )
    np.testing.assert_array_equal(found.X, direct.X)
    assert found.obs["n_nucleus"].tolist() == direct.obs["n_nucleus"].tolist()
    with pytest.raises(KeyError, match=r"Available keys: \['cells', 'nuclei'\]"):
        to_adata(sdata, labels_key="cells", compartments={"nucleus": "nope"})
