from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import spatialdata as sd
import zarr
from spatialdata.models import Image2DModel, Labels2DModel, TableModel
from spatialdata.transformations import Scale, Sequence, Translation, set_transformation

import saescape as sae


def make(image, labels, *, scales=None, factor=1.0):
    moved = {"global": Scale([factor, factor], axes=("x", "y"))}
    return sd.SpatialData(
        images={
            "stain": Image2DModel.parse(
                image, dims=("c", "y", "x"), c_coords=["DAPI", "GFP", "RFP"], scale_factors=scales
            ),
            "other": Image2DModel.parse(image[:1], dims=("c", "y", "x"), c_coords=["x"]),
        },
        labels={
            "cells": Labels2DModel.parse(labels, dims=("y", "x"), scale_factors=scales),
            "moved": Labels2DModel.parse(labels, dims=("y", "x"), transformations=moved),
        },
    )


@pytest.mark.parametrize("scales", [None, [2]])
def test_same_as_arrays_and_fits_into_tables(field, scales):
    image, labels = field
    sdata = make(image, labels, scales=scales)
    adata = sae.pp.image_to_adata(sdata, image_key="stain", labels_key="cells", show_progress_bar=False)
    plain = sae.pp.image_to_adata(image, labels, channel_names=["DAPI", "GFP", "RFP"], show_progress_bar=False)
    np.testing.assert_array_equal(adata.X, plain.X)
    assert adata.var_names.tolist() == plain.var_names.tolist()
    assert adata.obs["region"].unique().tolist() == ["cells"]
    sdata.tables["image"] = adata
    table = sdata.tables["image"]
    assert sd.get_element_instances(sdata.labels["cells"]).tolist() == table.obs["instance_id"].tolist()
    np.testing.assert_array_equal(sae.get.crops(adata), sae.get.crops(plain))


def test_errors(field):
    sdata = make(*field, factor=2.0)
    for kwargs, error, match in [
        ({}, ValueError, r"`image_key` must name one of the images of the SpatialData: \['stain', 'other'\]"),
        ({"image_key": "nope"}, KeyError, "no such element in `images`"),
        ({"image_key": "stain", "labels_key": "nope"}, KeyError, "Available keys"),
        ({"image_key": "stain", "labels_key": "moved"}, ValueError, "lie differently"),
        ({"image_key": "stain", "labels_key": "moved"}, ValueError, "spatialdata.rasterize"),
        ({"image_key": "stain", "labels": field[1]}, ValueError, "by `labels_key`"),
        ({"image_key": "stain", "scale": 1}, ValueError, r"`scale=1`: `stain` has 1 resolution level"),
        ({"image_key": "stain", "coordinate_system": "x"}, KeyError, r"no element in `images` .*\['global'\]"),
        ({"image_key": "stain", "labels_key": ["cells", "nope"]}, KeyError, "`labels_key='nope'`"),
        ({"image_key": ["stain", "stain"], "labels_key": "cells"}, ValueError, r"one element per image \(2\), found 1"),
        ({"image_key": []}, ValueError, "`image_key` is empty"),
    ]:
        with pytest.raises(error, match=match):
            sae.pp.image_to_adata(sdata, show_progress_bar=False, **kwargs)


def to_adata(*args, **kwargs):
    return sae.pp.image_to_adata(*args, **{"show_progress_bar": False, "features": ["intensity"], **kwargs})


def element(array, *, offset=None, factor=1.0, system="global", scales=None, names=None):
    shift = Translation(list(offset or (0, 0)), axes=("y", "x"))
    moved = {system: Sequence([Scale([factor, factor], axes=("x", "y")), shift])}
    if array.ndim == 2:
        return Labels2DModel.parse(array, dims=("y", "x"), transformations=moved, scale_factors=scales)
    return Image2DModel.parse(array, dims=("c", "y", "x"), c_coords=names, transformations=moved, scale_factors=scales)


@pytest.mark.parametrize("offset", [(0, 0), (30, 40), (-10, -20), (150, -20)])
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_labels_shifted_by_whole_pixels(field, offset, factor):
    image, labels = field
    expected = np.zeros_like(labels)
    (y, x), (height, width) = offset, labels.shape
    expected[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)] = labels[
        max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)
    ]
    sdata = sd.SpatialData(
        images={"stain": element(image, factor=factor)},
        labels={"cells": element(labels, factor=factor, offset=(y * factor, x * factor))},
    )
    adata = to_adata(sdata, labels_key="cells", crop_size=20)
    plain = to_adata(image, expected, region="cells", crop_size=20)
    np.testing.assert_array_equal(adata.X, plain.X)
    assert adata.obs_names.tolist() == plain.obs_names.tolist()
    np.testing.assert_array_equal(sae.get.crops(adata), sae.get.crops(plain))


def test_labels_that_cannot_be_shifted(field):
    image, labels = field
    for placed, match in [
        ({"offset": (0.5, 0)}, "only shifts by whole pixels are undone.*spatialdata.rasterize"),
        ({"offset": (0, 500)}, r"lies outside of `image_key='stain'`: \(0, 500\)"),
        ({"system": "other"}, "share no coordinate system"),
    ]:
        sdata = sd.SpatialData(images={"stain": element(image)}, labels={"cells": element(labels, **placed)})
        with pytest.raises(ValueError, match=match):
            to_adata(sdata, labels_key="cells")


def test_coordinate_systems(field):
    image, labels = field
    sdata = sd.SpatialData(
        images={"one": element(image, system="a"), "two": element(image // 2, system="b")},
        labels={"cells": element(labels, system="b")},
    )
    set_transformation(sdata.labels["cells"], Scale([2, 2], axes=("x", "y")), "a")
    adata = to_adata(sdata, labels_key="cells", coordinate_system="b")
    np.testing.assert_array_equal(adata.X, to_adata(image // 2, labels).X)
    with pytest.raises(ValueError, match=r"lie differently in \['a'\]"):
        to_adata(sdata, labels_key="cells", coordinate_system="a")
    with pytest.raises(ValueError, match=r"`coordinate_system='b'`: .* they share \['a'\]"):
        to_adata(sdata, image_key="one", labels_key="cells", coordinate_system="b")


def test_levels(field):
    image, labels = field
    sdata = sd.SpatialData(images={"stain": element(image, scales=[2])}, labels={"cells": element(labels, scales=[2])})
    small = next(iter(sdata.images["stain"]["scale1"].ds.data_vars.values())).to_numpy()
    small_labels = next(iter(sdata.labels["cells"]["scale1"].ds.data_vars.values())).to_numpy()
    for scale in (1, "scale1"):
        adata = to_adata(sdata, labels_key="cells", scale=scale)
        np.testing.assert_array_equal(adata.X, to_adata(small, small_labels).X)


def test_tables_are_joined(field):
    image, labels = field
    ids = np.unique(labels)[1:]
    obs = pd.DataFrame(
        {
            "region": pd.Categorical(["left"] * len(ids) + ["right"] * 3),
            "cell": [*ids[::-1], 1, 2, 99],
            "type": [f"t{i % 3}" for i in range(len(ids) + 3)],
            "size": np.arange(len(ids) + 3.0),
            "area": np.arange(len(ids) + 3),
        }
    )
    obs.index = obs.index.astype(str)
    table = TableModel.parse(ad.AnnData(obs=obs), region=["left", "right"], region_key="region", instance_key="cell")
    sdata = sd.SpatialData(
        images={"stain": element(image)},
        labels={"left": element(labels), "right": element(labels)},
        tables={"cells": table},
    )
    one = to_adata(sdata, labels_key="left")
    assert one.obs["size"].tolist() == list(range(len(ids)))[::-1]
    assert one.obs["type"].tolist() == obs["type"][: len(ids)].tolist()[::-1]
    assert one.obs["area_table"].tolist() == one.obs["size"].tolist()
    assert one.obs["area"].tolist() == np.bincount(labels.ravel())[ids].tolist()
    with pytest.warns(
        UserWarning, match=f"{len(ids) - 2} of {2 * len(ids)} labels have no row .* and 1 rows"
    ) as caught:
        both = to_adata(sdata, image_key="stain", labels_key=["left", "right"])
    assert len(caught) == 1
    assert both.obs["region"].cat.categories.tolist() == ["left", "right"]
    right = both.obs[both.obs["region"] == "right"].set_index("instance_id")
    assert right["size"].dropna().to_dict() == {1: len(ids), 2: len(ids) + 1}


def test_compartments_and_known_fields(field):
    image, labels = field
    nuclei = labels * (labels % 2)
    sdata = sd.SpatialData(
        images={"stain": element(image)},
        labels={"cells": element(labels), "nuclei": element(nuclei[10:], offset=(10, 0))},
    )
    nuclei[:10] = 0
    compartments = {"nucleus": "nuclei", "cytoplasm": "rest"}
    adata = to_adata(sdata, labels_key="cells", compartments=compartments, obs={"cells": {"donor": "d1"}})
    plain = to_adata(image, labels, compartments={"nucleus": nuclei, "cytoplasm": "rest"})
    np.testing.assert_array_equal(adata.X, plain.X)
    assert adata.obs["donor"].unique().tolist() == ["d1"]
    with pytest.raises(KeyError, match=r"`compartments\['nucleus'\]='x'`: the SpatialData has no such element"):
        to_adata(sdata, labels_key="cells", compartments={"nucleus": "x"})


@pytest.fixture
def on_disk(field, tmp_path, monkeypatch):
    """A SpatialData in a zarr store, with two levels and labels shifted by whole pixels."""
    create = zarr.create_array

    def with_plain_chunks(*args, chunks="auto", **kwargs):
        # the writers of spatialdata and ome-zarr do not agree on the form of chunks in all pairs of versions
        if isinstance(chunks, tuple) and isinstance(chunks[0], tuple):
            chunks = tuple(max(one) for one in chunks)
        return create(*args, chunks=chunks, **kwargs)

    image, labels = field
    names = ["DAPI", "GFP", "RFP"]
    written = sd.SpatialData(
        images={"stain": element(image, scales=[2], names=names)},
        labels={"cells": element(labels[20:], scales=[2], offset=(20, 0))},
    )
    with monkeypatch.context() as patched:
        patched.setattr(zarr, "create_array", with_plain_chunks)
        written.write(tmp_path / "s.zarr")
    return sd.read_zarr(tmp_path / "s.zarr")


def test_store_on_disk_is_opened_again(field, on_disk, tmp_path):
    image, labels = field
    cut = labels.copy()
    cut[:20] = 0
    names = ["DAPI", "GFP", "RFP"]
    plain = to_adata(image, cut, channel_names=names, crop_size=20)
    adata = to_adata(on_disk, labels_key="cells", channels=names[::-1][:2] + names[:1], crop_size=20)
    entry = adata.uns["image_to_adata"]["fields"]["cells"]
    assert entry["source"] == "path"
    assert "pixels" not in entry
    assert "labels" not in entry
    assert adata.var_names[0].startswith("RFP")
    np.testing.assert_array_equal(adata[:, plain.var_names].X, plain.X)
    expected = sae.get.crops(plain)[:, ::-1]
    np.testing.assert_allclose(sae.get.crops(adata), expected, atol=1e-6)
    adata.write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "s.zarr").rename(tmp_path / "moved.zarr")
    (tmp_path / "there").mkdir()
    (tmp_path / "moved.zarr").rename(tmp_path / "there" / "s.zarr")
    found = sae.get.crops(ad.read_h5ad(tmp_path / "a.h5ad"), folder=tmp_path / "there")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_changed_elements_are_not_read_from_the_store(field, on_disk):
    doubled = on_disk.images["stain"]["scale0"]["image"] // 2
    on_disk.images["half"] = Image2DModel.parse(doubled.data, dims=("c", "y", "x"))
    adata = to_adata(on_disk, image_key="half")
    assert adata.uns["image_to_adata"]["fields"]["half"]["source"] == "array"
    np.testing.assert_array_equal(sae.get.crops(adata, normalized=False)[0], field[0] // 2)
