from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import xarray as xr
from skimage.io import imsave

from saescape.imaging.reading._open import open_image, open_label_image

RNG = np.random.default_rng(0)
CYX = RNG.integers(0, 1000, (3, 40, 50)).astype(np.uint16)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("stored", [{}, {"metadata": {"axes": "CYX"}}, {"imagej": True, "metadata": {"axes": "CYX"}}])
def test_tiff_round_trip(tmp_path, stored, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, CYX, photometric="minisblack", compression=compression, **stored)
    np.testing.assert_array_equal(open_image(path, "`image`").pixels, CYX)
    np.testing.assert_array_equal(open_image(str(path), "`image`").pixels, CYX)


def test_ome_tiff_names_and_projection(tmp_path):
    path = tmp_path / "a.ome.tif"
    stack = RNG.integers(0, 1000, (4, 2, 40, 50)).astype(np.uint16)
    tifffile.imwrite(
        path, stack, photometric="minisblack", metadata={"axes": "ZCYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    )
    opened = open_image(path, "`image`")
    assert opened.channel_names == ("DAPI", "GFP")
    np.testing.assert_array_equal(opened.pixels, stack.max(0))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_rgb_files(tmp_path, suffix):
    rgb = RNG.integers(0, 255, (40, 50, 3)).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        imsave(path, np.concatenate([rgb, np.full((40, 50, 1), 255, np.uint8)], axis=2), check_contrast=False)
    else:
        tifffile.imwrite(path, rgb, photometric="rgb")
    opened = open_image(path, "`image`")
    assert opened.channel_names == ("R", "G", "B")
    np.testing.assert_array_equal(opened.pixels, rgb.transpose(2, 0, 1))


def test_arrays():
    assert open_image(CYX[0], "`image`").pixels.shape == (1, 40, 50)
    np.testing.assert_array_equal(open_image(np.stack([CYX, CYX // 2], axis=1), "`image`").pixels, CYX)
    assert isinstance(open_image(da.from_array(CYX), "`image`").pixels, da.Array)
    named = xr.DataArray(CYX.transpose(1, 2, 0), dims=("y", "x", "c"), coords={"c": ["a", "b", "c"]})
    opened = open_image(named, "`image`")
    assert opened.channel_names == ("a", "b", "c")
    np.testing.assert_array_equal(opened.pixels, CYX)


@pytest.mark.parametrize(
    ("image", "error", "match"),
    [
        (np.zeros((40, 50, 3)), ValueError, r"looks like \(Y, X, C\).*np.moveaxis"),
        (np.zeros((904, 1224, 6)), ValueError, r"looks like \(Y, X, C\)"),
        (np.zeros(5), ValueError, r"found shape \(5,\)"),
        (np.zeros((1, 2, 3, 4, 5)), ValueError, "must be"),
        (np.zeros((0, 40, 50)), ValueError, "is empty"),
        (np.zeros((3, 40, 50), complex), TypeError, "complex128"),
        (np.zeros((3, 40, 50), bool), TypeError, "bool"),
        (np.full((3, 40, 50), "a"), TypeError, "must hold integers or floats"),
        (np.full((3, 40, 50), None), TypeError, "object"),
        ("missing.tif", FileNotFoundError, "no file 'missing.tif'"),
        ("image.exe", ValueError, "must be one of"),
    ],
)
def test_bad_images(image, error, match):
    with pytest.raises(error, match=match):
        open_image(image, "`image`")


def test_what_numpy_can_take():
    for image in (torch.from_numpy(CYX.astype(np.int32)), CYX.tolist(), np.ma.masked_array(CYX)):
        np.testing.assert_array_equal(open_image(image, "`image`").pixels, CYX)


def test_labels_are_not_projected(tmp_path):
    stack = np.zeros((3, 40, 50), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
    for source in (tmp_path / "a.tif", stack):
        with pytest.raises(ValueError, match=r"`labels` must be a \(Y, X\) label image, found shape"):
            open_label_image(source, "`labels`")


def test_label_images(tmp_path):
    labels = np.arange(20, dtype=np.uint16).reshape(4, 5)
    tifffile.imwrite(tmp_path / "a.tif", labels[None])
    imsave(tmp_path / "a.png", labels, check_contrast=False)
    for source in (tmp_path / "a.tif", tmp_path / "a.png", da.from_array(labels), labels[None]):
        np.testing.assert_array_equal(open_label_image(source, "`labels`"), labels)
    with pytest.raises(ValueError, match=r"must be a \(Y, X\) label image"):
        open_label_image(np.zeros((2, 4, 5)), "`labels`")
