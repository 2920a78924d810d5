from __future__ import annotations

import numpy as np
import pytest
import tifffile

from saescape.imaging.reading import _tiff
from saescape.imaging.reading._lazy import LazyPixels
from saescape.imaging.reading._open import open_image, open_label_image
from saescape.imaging.reading._opened import Reading

RNG = np.random.default_rng(0)
CYX = RNG.integers(0, 1000, (3, 60, 70)).astype(np.uint16)
STORED = [{}, {"metadata": {"axes": "CYX"}}, {"imagej": True, "metadata": {"axes": "CYX"}}, {"byteorder": ">"}]


def write(path, array, **kwargs):
    tifffile.imwrite(path, array, **{"photometric": "minisblack", **kwargs})
    return path


@pytest.mark.parametrize("limit", [0, _tiff.WHOLE_BYTES])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("stored", STORED)
def test_parts_of_files(tmp_path, stored, compression, limit, monkeypatch):
    monkeypatch.setattr("saescape.imaging.reading._open.WHOLE_BYTES", limit)
    path = write(tmp_path / "a.tif", CYX, compression=compression, rowsperstrip=7, **stored)
    pixels = open_image(path, "`image`").pixels
    assert isinstance(pixels, LazyPixels)
    assert (pixels.shape, pixels.dtype) == (CYX.shape, np.uint16)
    np.testing.assert_array_equal(pixels[:, 11:30, 5:64], CYX[:, 11:30, 5:64])
    np.testing.assert_array_equal(pixels[[2, 0], 3], CYX[[2, 0], 3])
    np.testing.assert_array_equal(pixels, CYX)


def test_tiles_are_decoded_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr("saescape.imaging.reading._open.WHOLE_BYTES", 0)
    big = np.zeros((2, 256, 256), dtype=np.uint16)
    big[:, 100:120, 90:130] = RNG.integers(1, 1000, (2, 20, 40))
    path = write(tmp_path / "a.tif", big, compression="zlib", tile=(64, 64), metadata={"axes": "CYX"})
    decoded = []
    decode = tifffile.TiffPage.decode.func

    def spied(page):
        one = decode(page)

        def wrapped(*args, **kwargs):
            decoded.append(args)
            return one(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(tifffile.TiffPage, "decode", property(spied))
    pixels = open_image(path, "`image`").pixels
    assert pixels.chunks == (1, 64, 64)
    assert not decoded
    np.testing.assert_array_equal(pixels[:, 100:120, 90:130], big[:, 100:120, 90:130])
    # two of four rows of tiles, two of four columns, two channels; empty tiles need no decoding
    assert 0 < len(decoded) <= 8


def test_ome_metadata(tmp_path):
    stack = RNG.integers(0, 1000, (4, 2, 60, 70)).astype(np.uint16)
    metadata = {
        "axes": "ZCYX",
        "Channel": {"Name": ["DAPI", "GFP"]},
        "PhysicalSizeX": 325,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.325,
        "PhysicalSizeYUnit": "µm",
    }
    path = write(tmp_path / "a.ome.tif", stack, metadata=metadata)
    opened = open_image(path, "`image`")
    assert opened.channel_names == ("DAPI", "GFP")
    assert opened.pixel_size == pytest.approx(0.325)
    np.testing.assert_array_equal(opened.pixels[:, 5:9], stack.max(0)[:, 5:9])
    chosen = open_image(path, "`image`", Reading(channels=(("GFP", "tubulin"),)))
    assert chosen.channel_names == ("tubulin",)
    np.testing.assert_array_equal(chosen.pixels, stack.max(0)[1:])
    oblong = write(tmp_path / "b.ome.tif", stack, metadata={**metadata, "PhysicalSizeY": 0.5})
    assert open_image(oblong, "`image`").pixel_size is None


def test_colours_of_ome_files(tmp_path):
    rgb = RNG.integers(0, 255, (60, 70, 3)).astype(np.uint8)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, rgb, photometric="rgb", metadata={"axes": "YXS", "Channel": {"Name": "stain"}})
    opened = open_image(path, "`image`")
    assert opened.channel_names == ("R", "G", "B")
    np.testing.assert_array_equal(opened.pixels, rgb.transpose(2, 0, 1))


def test_imagej_metadata(tmp_path):
    path = write(
        tmp_path / "a.tif",
        CYX,
        imagej=True,
        resolution=(4, 4),
        metadata={"axes": "CYX", "unit": "micron", "Labels": ["DAPI", "GFP", "RFP"]},
    )
    opened = open_image(path, "`image`")
    assert opened.channel_names == ("DAPI", "GFP", "RFP")
    assert opened.pixel_size == pytest.approx(0.25)
    assert open_image(write(tmp_path / "b.tif", CYX, resolution=(72, 72)), "`image`").pixel_size is None


def test_declared_axes_win(tmp_path):
    path = write(tmp_path / "a.tif", CYX, metadata={"axes": "CYX"})
    np.testing.assert_array_equal(open_image(path, "`image`", Reading(axes="ZYX")).pixels[0], CYX.max(0))
    with pytest.raises(ValueError, match=r"`axes='YX'` names 2 axes.*in its metadata 'CYX'"):
        open_image(path, "`image`", Reading(axes="YX"))


def test_levels_of_a_pyramid(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        options = {"tile": (32, 32), "photometric": "minisblack", "compression": "zlib"}
        tiff.write(CYX, subifds=1, metadata={"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, **options)
        tiff.write(CYX[:, ::2, ::2], subfiletype=1, **options)
    assert open_image(path, "`image`").pixels.shape == (3, 60, 70)
    for scale in (1, "1", "scale1"):
        opened = open_image(path, "`image`", Reading(scale=scale))
        np.testing.assert_array_equal(opened.pixels, CYX[:, ::2, ::2])
        assert opened.pixel_size == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"`scale=2`: `image` has 2 resolution level"):
        open_image(path, "`image`", Reading(scale=2))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.97])
def test_truncated_files_are_named(tmp_path, compression, share):
    path = write(tmp_path / "a.tif", CYX, compression=compression, metadata={"axes": "CYX"})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"`image`: '.*a\.tif' (is truncated|cannot be read|lacks)"):
        np.asarray(open_image(path, "`image`").pixels)
    with pytest.raises(ValueError, match=r"`labels`: '.*a\.tif' (is truncated|cannot be read|lacks)"):
        np.asarray(open_label_image(path, "`labels`"))


def test_what_is_no_tiff(tmp_path):
    (tmp_path / "a.tif").write_text("this is text")
    with pytest.raises(ValueError, match=r"'.*a\.tif' cannot be read as a TIFF; is the file complete"):
        open_image(tmp_path / "a.tif", "`image`")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match=r"'.*a\.png' cannot be read"):
        open_image(tmp_path / "a.png", "`image`")
