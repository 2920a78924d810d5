"""Every kind of input gives the same AnnData, and crops are found again."""

from __future__ import annotations

import pickle
import shutil

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import tifffile
import xarray as xr
import zarr
from skimage.io import imsave

import saescape as sae
from saescape.imaging._gather import gather_fields

NAMES = ["DAPI", "GFP", "RFP"]


def to_adata(*args, **kwargs):
    return sae.pp.image_to_adata(*args, **{"show_progress_bar": False, "features": ["intensity"], **kwargs})


def write_tiff(path, array, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, **{"photometric": "minisblack", **kwargs})
    return path


def write_zarr(path, image, labels):
    group = zarr.open_group(str(path), mode="w")
    for at, array, axes in ((group, image, "cyx"), (group.create_group("labels/cells"), labels, "yx")):
        at.create_array("0", shape=array.shape, chunks=(*[1] * (array.ndim - 2), 64, 64), dtype=array.dtype)[:] = array
        scale = [{"type": "scale", "scale": [1.0, 0.65, 0.65][-array.ndim :]}]
        kinds = [{"name": one, "type": "space", "unit": "micrometer"} for one in axes]
        multiscale = {"axes": kinds, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
        at.attrs.update({"ome": {"version": "0.5", "multiscales": [multiscale]}})
    channels = [{"label": name} for name in NAMES]
    group.attrs.update({"ome": {**group.attrs["ome"], "omero": {"channels": channels}}})
    return path


@pytest.fixture(scope="module")
def small(field):
    image, labels = field
    return image[:, :100, :120].copy(), labels[:100, :120].copy()


@pytest.fixture(scope="module")
def plain(small):
    return to_adata(*small, channel_names=NAMES, crop_size=32)


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    """The same field in every kind of file."""
    image, labels = small
    root = tmp_path_factory.mktemp("data")
    ome = {"axes": "CYX", "Channel": {"Name": NAMES}, "PhysicalSizeX": 0.65, "PhysicalSizeY": 0.65}
    write_tiff(root / "a.ome.tif", image, metadata=ome)
    write_tiff(root / "packed.ome.tif", image, metadata=ome, compression="zlib", tile=(32, 32))
    imagej = {"axes": "CYX", "unit": "um", "Labels": NAMES}
    write_tiff(root / "imagej.tif", image, imagej=True, resolution=(1 / 0.65, 1 / 0.65), metadata=imagej)
    write_tiff(root / "labels.tif", labels.astype(np.uint16), compression="zlib")
    imsave(root / "labels.png", labels.astype(np.uint8), check_contrast=False)
    write_zarr(root / "a.zarr", image, labels)
    for name, channel in zip(NAMES, image, strict=True):
        write_tiff(root / f"{name}.tif", channel)
        for z in range(3):
            one = channel if z == 1 else channel // (z + 2)
            write_tiff(root / "planes" / f"B7_{name}_z{z}.tif", one, compression="zlib")
    write_tiff(root / "masks" / "B7_cells.tif", labels.astype(np.int32))
    return root


def inputs(folder, image, labels):
    mask = folder / "labels.tif"
    nested = {"image": {name: folder / f"{name}.tif" for name in NAMES}}
    pattern = r"(?P<well>[A-H]\d+)_(?P<channel>\w+)_z(?P<z>\d)\.tif"
    return {
        "ome": (folder / "a.ome.tif", mask, {}),
        "ome in tiles": (str(folder / "packed.ome.tif"), str(folder / "labels.png"), {}),
        "imagej": (folder / "imagej.tif", mask, {}),
        "ome-zarr": (str(folder / "a.zarr"), "cells", {}),
        "zarr path": (folder / "a.zarr", folder / "a.zarr" / "labels" / "cells", {}),
        "zarr array": (zarr.open(str(folder / "a.zarr" / "0"), mode="r"), labels, {"channel_names": NAMES}),
        "nested": (nested, {"image": mask}, {"channels": NAMES}),
        "nested arrays": ({"image": dict(zip(NAMES, image, strict=True))}, {"image": labels}, {}),
        "declared": (image.transpose(1, 2, 0), labels, {"axes": "YXC", "channel_names": NAMES}),
        "xarray": (xr.DataArray(image, dims=("c", "y", "x"), coords={"c": NAMES}), labels, {}),
        "folder": (
            folder / "planes",
            folder / "masks",
            {"pattern": pattern, "labels_pattern": r"(?P<well>[A-H]\d+)_cells\.tif"},
        ),
    }


KINDS = [
    "ome",
    "ome in tiles",
    "imagej",
    "ome-zarr",
    "zarr path",
    "zarr array",
    "nested",
    "nested arrays",
    "declared",
    "xarray",
    "folder",
]


@pytest.mark.parametrize("kind", KINDS)
def test_same_result_and_crops(kind, folder, small, plain, tmp_path):
    image, labels, kwargs = inputs(folder, *small)[kind]
    adata = to_adata(image, labels, crop_size=32, **kwargs)
    np.testing.assert_allclose(adata.X, plain.X, rtol=1e-5)
    assert adata.var_names.tolist() == plain.var_names.tolist()
    assert adata.obs["instance_id"].tolist() == plain.obs["instance_id"].tolist()
    entry = next(iter(adata.uns["image_to_adata"]["fields"].values()))
    has_size = kind in {"ome", "ome in tiles", "imagej", "ome-zarr", "zarr path"}
    assert entry.get("pixel_size") == (pytest.approx(0.65) if has_size else None)
    expected = sae.get.crops(plain)
    np.testing.assert_allclose(sae.get.crops(adata), expected, atol=1e-6)
    adata.write_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_allclose(sae.get.crops(ad.read_h5ad(tmp_path / "a.h5ad")), expected, atol=1e-6)
    if kind == "folder":
        adata.write_zarr(tmp_path / "written.zarr")
        np.testing.assert_allclose(sae.get.crops(ad.read_zarr(tmp_path / "written.zarr")), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["ome", "ome-zarr", "zarr path", "nested", "folder"])
def test_fields_on_disk_travel_and_move(kind, folder, small, plain, tmp_path):
    moved = tmp_path / "here"
    shutil.copytree(folder, moved)
    image, labels, kwargs = inputs(moved, *small)[kind]
    (one,) = gather_fields(image, labels, **kwargs)
    assert one.on_disk
    again = pickle.loads(pickle.dumps(one))
    assert len(pickle.dumps(one)) < 5000
    np.testing.assert_array_equal(again.open().pixels, small[0])
    adata = to_adata(image, labels, crop_size=32, **kwargs)
    moved.rename(tmp_path / "there")
    with pytest.raises((FileNotFoundError, ValueError), match="no file|must be one of|cannot be read"):
        sae.get.crops(adata)
    if kind == "folder":
        shutil.copytree(tmp_path / "there" / "masks", tmp_path / "there" / "planes", dirs_exist_ok=True)
    found = sae.get.crops(adata, folder=tmp_path / "there" / ("planes" if kind == "folder" else ""))
    np.testing.assert_allclose(found, sae.get.crops(plain), atol=1e-6)


def test_levels_are_found_again(small, tmp_path):
    image, labels = small[0][:, ::2, ::2], small[1][::2, ::2]
    path = write_zarr(tmp_path / "a.zarr", *small)
    for at, array in ((path, image), (path / "labels" / "cells", labels)):
        group = zarr.open_group(str(at), mode="r+")
        group.create_array("half", shape=array.shape, chunks=array.shape, dtype=array.dtype)[:] = array
        ome = dict(group.attrs["ome"])
        scale = [{"type": "scale", "scale": [1.0, 1.3, 1.3][-array.ndim :]}]
        ome["multiscales"][0]["datasets"].append({"path": "half", "coordinateTransformations": scale})
        group.attrs.update({"ome": ome})
    plain = to_adata(image, labels, channel_names=NAMES, crop_size=20)
    for scale in (1, "half"):
        adata = to_adata(path, "cells", scale=scale, crop_size=20)
        np.testing.assert_allclose(adata.X, plain.X, rtol=1e-5)
        adata.write_h5ad(tmp_path / "a.h5ad")
        again = ad.read_h5ad(tmp_path / "a.h5ad")
        assert again.uns["image_to_adata"]["fields"]["image"]["pixel_size"] == pytest.approx(1.3)
        np.testing.assert_allclose(sae.get.crops(again), sae.get.crops(plain), atol=1e-6)


def test_stored_zarr_paths_are_not_trusted(folder, small, tmp_path):
    shutil.copytree(folder, tmp_path / "data")
    image, labels, kwargs = inputs(tmp_path / "data", *small)["zarr path"]
    adata = to_adata(image, labels, crop_size=32, **kwargs)
    entry = adata.uns["image_to_adata"]["fields"]["image"]
    shutil.copytree(folder / "a.zarr", tmp_path / "secret.zarr")
    for path in (
        "../secret.zarr",
        "x.zarr/../../secret.zarr",
        str(tmp_path / "data" / "y.zarr" / ".." / ".." / "secret.zarr"),
    ):
        entry["path"] = path
        with pytest.raises(ValueError, match="leads out of `folder`"):
            sae.get.crops(adata, folder=tmp_path / "data")
    entry["path"] = "/etc"
    with pytest.raises(ValueError, match="is not an image file"):
        sae.get.crops(adata)


def test_subfolders_tell_files_of_one_name_apart(small, plain, tmp_path):
    image, labels = small
    for name, channel in zip(NAMES, image, strict=True):
        write_tiff(tmp_path / "here" / name / "a.tif", channel)
    files = {"image": {name: tmp_path / "here" / name / "a.tif" for name in NAMES}}
    adata = to_adata(files, {"image": labels}, crop_size=32)
    (tmp_path / "here").rename(tmp_path / "there")
    found = sae.get.crops(adata, folder=tmp_path / "there")
    np.testing.assert_allclose(found, sae.get.crops(plain), atol=1e-6)
    (tmp_path / "flat").mkdir()
    shutil.copy(tmp_path / "there" / "GFP" / "a.tif", tmp_path / "flat" / "a.tif")
    with pytest.raises(ValueError, match="have one name and cannot be told apart.*keep their subfolders"):
        sae.get.crops(adata, folder=tmp_path / "flat")


def test_channels_are_chosen_and_renamed(folder, small, plain):
    wanted = {"RFP": "actin", "DAPI": "dna"}
    by_array = to_adata(small[0][[2, 0]], small[1], channel_names=["actin", "dna"], crop_size=32)
    for kind in ("ome", "ome-zarr", "nested", "folder", "xarray"):
        image, labels, kwargs = inputs(folder, *small)[kind]
        adata = to_adata(image, labels, crop_size=32, **{**kwargs, "channels": wanted})
        assert adata.uns["image_to_adata"]["channel_names"].tolist() == ["actin", "dna"]
        np.testing.assert_allclose(adata.X, by_array.X, rtol=1e-5)
        np.testing.assert_allclose(sae.get.crops(adata), sae.get.crops(by_array), atol=1e-6)
    named = to_adata(small[0], small[1], channel_names=["a", "b", "c"], channels=["c", "a"], crop_size=32)
    np.testing.assert_array_equal(named.X, by_array.X)


def test_known_about_fields(small):
    image, labels = small
    table = pd.DataFrame({"plate": ["p1", "p2"], "dose": [3, 4]}, index=["b", "a"])
    adata = to_adata({"a": image, "b": image}, {"a": labels, "b": labels}, obs=table)
    n = adata.n_obs // 2
    assert adata.obs["plate"].tolist() == ["p2"] * n + ["p1"] * n
    assert adata.obs["dose"].tolist() == [4] * n + [3] * n
    with pytest.raises(ValueError, match="`obs` has no row for 1 of 2 fields"):
        to_adata({"a": image, "b": image}, None, obs=table[:1])


def test_groups_become_columns(small, folder):
    image, labels, kwargs = inputs(folder, *small)["folder"]
    adata = to_adata(image, labels, **kwargs, obs={"B7": {"donor": "d1"}})
    assert adata.obs["region"].unique().tolist() == ["B7"]
    assert adata.obs["well"].unique().tolist() == ["B7"]
    assert adata.obs["donor"].unique().tolist() == ["d1"]
    with pytest.raises(ValueError, match=r"named groups: \['row'\] are columns of the result itself"):
        to_adata(image, pattern=r"(?P<row>[A-H])\d+_(?P<channel>\w+)_z(?P<z>\d)\.tif")


def test_real_cell_painting_names(tmp_path):
    """Files named like those of the NF1 data, written from the fields that ship with the package."""
    fields = sae.datasets.nf1_cell_painting()
    for name in ("B7", "D6"):
        pixels = tifffile.imread(fields.images[name])[:, 300:700, 300:900]
        for number, (channel, plane) in enumerate(zip(fields.channel_names, pixels, strict=True)):
            write_tiff(tmp_path / "images" / f"{name}_01_{number + 1}_3_{channel}_001.tif", plane)
        mask = tifffile.imread(fields.labels[name])[300:700, 300:900]
        write_tiff(tmp_path / "masks" / f"{name}_01_1_3_DAPI_001_MaskNuclei.tiff", mask)
    masks = r"(?P<well>[A-H]\d+)_01_1_(?P<site>\d)_DAPI_001_MaskNuclei\.tiff"
    with pytest.warns(UserWarning, match="binary masks"):
        adata = to_adata(tmp_path / "images", tmp_path / "masks", pattern="cell_painting", labels_pattern=masks)
    assert adata.obs["region"].cat.categories.tolist() == ["B7_3", "D6_3"]
    assert adata.obs["well"].cat.categories.tolist() == ["B7", "D6"]
    assert adata.uns["image_to_adata"]["channel_names"].tolist() == ["DAPI", "GFP", "RFP"]
    (tmp_path / "masks" / "D6_01_1_3_DAPI_001_MaskNuclei.tiff").unlink()
    left_out = r"1 of 2 fields have no labels and are left out: \['D6_3'\]"
    with pytest.warns(UserWarning, match=left_out), pytest.warns(UserWarning, match="binary masks"):
        one = to_adata(tmp_path / "images", tmp_path / "masks", pattern="cell_painting", labels_pattern=masks)
    assert one.obs["region"].unique().tolist() == ["B7_3"]
    (tmp_path / "images" / "B7_01_2_3_GFP_001.tif").unlink()
    with pytest.raises(ValueError, match=r"1 of 2 fields .*'B7_3' without \['GFP'\]. Add or remove files, or choose"):
        to_adata(tmp_path / "images", pattern="cell_painting")
    chosen = to_adata(tmp_path / "images", pattern="cell_painting", channels=["RFP", "DAPI"])
    assert chosen.n_obs == 2


def test_folders_that_do_not_fit(small, tmp_path):
    image, labels = small
    for well in ("A1", "A2"):
        write_tiff(tmp_path / "images" / f"{well}.tif", image, metadata={"axes": "CYX"})
    write_tiff(tmp_path / "cells" / "A1.tif", labels.astype(np.int32))
    write_tiff(tmp_path / "nuclei" / "A2.tif", labels.astype(np.int32))
    write_tiff(tmp_path / "others" / "B7.tif", labels.astype(np.int32))
    images, wells = tmp_path / "images", r"(?P<well>\w\d)\.tif"
    for args, kwargs, error, match in [
        ((images, tmp_path / "others"), {}, ValueError, r"belongs to none of the fields: fields are \['A1', 'A2'\]"),
        ((images,), {"labels_pattern": wells}, ValueError, "needs a folder as `labels`.*found None"),
        ((tmp_path / "none",), {"pattern": wells}, FileNotFoundError, "`image`: no folder '.*none'"),
        ((images, tmp_path / "cells"), {"pattern": wells}, ValueError, r"named groups of `pattern`, \['well'\]"),
        ((tmp_path,), {}, ValueError, "fits none of the 0 image files"),
    ]:
        with pytest.raises(error, match=match):
            to_adata(*args, **kwargs)
    with (
        pytest.warns(UserWarning, match=r"1 of 2 fields have no labels and are left out: \['A2'\]"),
        pytest.warns(UserWarning, match=r"`compartments\['nucleus'\]`: 1 of 2 .* left out: \['A1'\]"),
        pytest.raises(ValueError, match="no field has all of"),
    ):
        to_adata(images, tmp_path / "cells", compartments={"nucleus": tmp_path / "nuclei"})


def test_folder_of_whole_images(small, tmp_path):
    image, labels = small
    for name in ("a", "b"):
        write_tiff(tmp_path / "images" / f"{name}.ome.tif", image, metadata={"axes": "CYX", "Channel": {"Name": NAMES}})
        write_tiff(tmp_path / "masks" / f"{name}.tif", labels.astype(np.uint16))
    adata = to_adata(tmp_path / "images", tmp_path / "masks")
    assert adata.obs["region"].cat.categories.tolist() == ["a", "b"]
    assert "field" not in adata.obs
    given = to_adata(tmp_path / "images", dict.fromkeys("ab", labels))
    np.testing.assert_array_equal(adata.X, given.X)


def test_compartments_of_folders_and_stores(folder, small):
    image, labels = small
    write_tiff(folder / "masks" / "B7_nuclei.tif", (labels * (labels % 2)).astype(np.int32))
    files, masks, kwargs = inputs(folder, *small)["folder"]
    by_pattern = to_adata(files, masks, compartments={"nucleus": r"(?P<well>[A-H]\d+)_nuclei\.tif"}, **kwargs)
    given = to_adata(image, labels, compartments={"nucleus": labels * (labels % 2)}, channel_names=NAMES)
    np.testing.assert_allclose(by_pattern.X, given.X, rtol=1e-5)
    assert by_pattern.obs["has_nucleus"].tolist() == given.obs["has_nucleus"].tolist()
    inside = to_adata(folder / "a.zarr", "cells", compartments={"nucleus": "cells"})
    assert inside.obs["has_nucleus"].all()


def test_channel_files_that_do_not_fit(small, tmp_path):
    image, _ = small
    complete = dict(zip(NAMES, image, strict=True))
    fields = {"a": complete, "b": complete, "c": complete}
    lacking = {name: one for name, one in complete.items() if name != "GFP"}
    with pytest.raises(ValueError, match=r"`image`: 2 of 4 fields .*'d' without \['GFP'\]; 'e' with \['extra'\]"):
        to_adata({"a": complete, "b": complete, "d": lacking, "e": {**complete, "extra": image[0]}})
    assert to_adata({**fields, "d": lacking}, channels=["RFP"]).n_obs == 4
    with pytest.raises(
        ValueError, match=r"`image\['b'\]`, channel 'GFP' has shape \(50, 120\).*'DAPI' has \(100, 120\)"
    ):
        to_adata({"a": complete, "b": {**complete, "GFP": image[1, :50]}})
    with pytest.raises(ValueError, match=r"channel 'GFP' must hold one channel, found 3"):
        to_adata({"a": {**complete, "GFP": image}})
    with pytest.raises(ValueError, match="not both"):
        to_adata({"a": complete, "b": image})
    missing = {"DAPI": tmp_path / "DAPI.tif", "GFP": tmp_path / "GFP.tif"}
    with pytest.raises(FileNotFoundError, match=r"`image\['a'\]`, channel 'DAPI': no file '.*DAPI.tif'"):
        to_adata({"a": missing})


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"axes": "YXC"}, ValueError, r"`axes='YXC'` names 3 axes"),
        ({"axes": "abc"}, ValueError, "`axes` must name Y, X"),
        ({"channels": ["x"]}, KeyError, r"`image` has no channel \['x'\]"),
        ({"channels": "x"}, TypeError, "sequence of channel names"),
        ({"pattern": "phenix"}, ValueError, "need a folder"),
        ({"scale": -1}, ValueError, "`scale` must not be negative"),
        ({"scale": 1.5}, TypeError, "number or the name"),
        ({"coordinate_system": "global"}, TypeError, "`coordinate_system` needs a SpatialData, found ndarray"),
        ({"obs": {"image": {"region": 1}}}, ValueError, r"\['region'\] are columns of the result"),
    ],
)
def test_errors(kwargs, error, match):
    image = np.zeros((2, 3, 40, 50), dtype=np.uint16)
    with pytest.raises(error, match=match):
        to_adata(image, **kwargs)


@pytest.mark.parametrize(
    ("dtype", "error", "match"),
    [(object, TypeError, "dtype object"), (bool, TypeError, "dtype bool"), (complex, TypeError, "dtype complex128")],
)
def test_wrong_pixels(dtype, error, match):
    with pytest.raises(error, match=match):
        to_adata(np.zeros((2, 40, 50), dtype=dtype))


def test_nan_pixels_name_share_and_channel():
    image = np.zeros((2, 40, 50), dtype=np.float32)
    image[1, :10, 7] = np.nan
    with pytest.raises(
        ValueError, match=r"`image` has 10 non-finite values \(0.5 % of channel 'GFP'\), .* \(1, 0, 7\)"
    ):
        to_adata(image, channel_names=["DAPI", "GFP"])


def test_fields_must_agree_on_names(small):
    image, _ = small
    first = xr.DataArray(image, dims=("c", "y", "x"), coords={"c": NAMES})
    second = first[::-1]
    with pytest.raises(ValueError, match=r"\['RFP', 'GFP', 'DAPI'\], but the first field has .* by `channels`"):
        to_adata([first, second])
    adata = to_adata([first, second], channels=NAMES)
    np.testing.assert_array_equal(adata.X[0], adata.X[1])
