from __future__ import annotations

import numpy as np
import pytest
import zarr

from saescape.imaging._gather import gather_fields
from saescape.imaging.reading import _zarr
from saescape.imaging.reading._open import open_image, open_label_image
from saescape.imaging.reading._opened import Reading

RNG = np.random.default_rng(0)
TCZYX = RNG.integers(0, 1000, (1, 2, 3, 64, 48)).astype(np.uint16)
LABELS = RNG.integers(0, 5, (64, 48)).astype(np.int32)


def axes_of(letters):
    kinds = {"t": "time", "c": "channel"}
    return [
        {"name": one, "type": kinds.get(one, "space"), **({} if one in kinds else {"unit": "micrometer"})}
        for one in letters
    ]


def write_ome_zarr(path, array, letters, *, version="0.4", names=None, size=0.5, n_levels=2):
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for level in range(n_levels):
        step = 2**level
        part = array[..., ::step, ::step]
        chunks = (*[1] * (array.ndim - 2), 16, 16)
        group.create_array(str(level), shape=part.shape, chunks=chunks, dtype=part.dtype)[:] = part
        scale = [size * step if one in "yx" else 1.0 for one in letters]
        transformations = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    metadata = {"multiscales": [{"version": version, "axes": axes_of(letters), "datasets": datasets}]}
    if names is not None:
        metadata["omero"] = {"channels": [{"label": name} for name in names]}
    group.attrs.update(metadata if version == "0.4" else {"ome": {"version": version, **metadata}})
    return path


@pytest.fixture(params=["0.4", "0.5"])
def image(request, tmp_path):
    path = write_ome_zarr(tmp_path / "a.ome.zarr", TCZYX, "tczyx", version=request.param, names=["DAPI", "GFP"])
    write_ome_zarr(path / "labels" / "cells", LABELS, "yx", version=request.param)
    return path


def test_image(image):
    opened = open_image(image, "`image`")
    assert opened.channel_names == ("DAPI", "GFP")
    assert opened.pixel_size == pytest.approx(0.5)
    assert opened.pixels.shape == (2, 64, 48)
    assert opened.pixels.chunks == (1, 16, 16)
    np.testing.assert_array_equal(opened.pixels[:, 7:30, 3:20], TCZYX[0].max(1)[:, 7:30, 3:20])
    renamed = open_image(str(image), "`image`", Reading(channels=(("GFP", "x"),)))
    np.testing.assert_array_equal(renamed.pixels, TCZYX[0].max(1)[1:])


def test_levels(image):
    for scale in (1, "1", "scale1"):
        opened = open_image(image, "`image`", Reading(scale=scale))
        np.testing.assert_array_equal(opened.pixels, TCZYX[0].max(1)[:, ::2, ::2])
        assert opened.pixel_size == pytest.approx(1.0)
        labels = open_label_image(image / "labels" / "cells", "`labels`", scale)
        np.testing.assert_array_equal(labels, LABELS[::2, ::2])
    with pytest.raises(ValueError, match=r"`scale='s7'`: `image` has 2 resolution level\(s\), \['0', '1'\]"):
        open_image(image, "`image`", Reading(scale="s7"))


def test_labels_inside(image):
    assert _zarr.zarr_labels(image, "cells", "`labels`") == image / "labels" / "cells"
    np.testing.assert_array_equal(open_label_image(image / "labels" / "cells", "`labels`"), LABELS)
    with pytest.raises(KeyError, match=r"has no labels 'nuclei'. Available labels: \['cells'\]"):
        _zarr.zarr_labels(image, "nuclei", "`labels`")
    with pytest.raises(ValueError, match=r"must be a \(Y, X\) label image, found shape \(2, 64, 48\)"):
        open_label_image(image, "`labels`")


def test_old_and_plain_metadata(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", TCZYX, "tczyx")
    group = zarr.open_group(str(path), mode="r+")
    group.attrs.put({"multiscales": [{"version": "0.1", "datasets": [{"path": "0"}]}]})
    opened = open_image(path, "`image`")
    assert opened.pixel_size is None
    assert opened.channel_names == ("channel_0", "channel_1")
    np.testing.assert_array_equal(opened.pixels, TCZYX[0].max(1))
    plain = zarr.create_array(str(tmp_path / "b.zarr"), shape=(64, 48, 2), chunks=(16, 16, 2), dtype="uint16")
    plain[:] = TCZYX[0, :, 0].transpose(1, 2, 0)
    for source in (tmp_path / "b.zarr", plain):
        np.testing.assert_array_equal(open_image(source, "`image`", Reading(axes="YXC")).pixels, TCZYX[0, :, 0])
    with pytest.raises(ValueError, match="`axes='YXC'`"):
        open_image(tmp_path / "b.zarr", "`image`")


def test_errors(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    group.create_group("images")
    with pytest.raises(ValueError, match=r"no `multiscales` in its metadata. It holds \['images'\]"):
        open_image(tmp_path / "a.zarr", "`image`")
    (tmp_path / "a.zarr" / "zarr.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read as zarr; is it complete"):
        open_image(tmp_path / "a.zarr", "`image`")
    with pytest.raises(FileNotFoundError, match="no file"):
        open_image(tmp_path / "missing.zarr", "`image`")
    with pytest.raises(ValueError, match="must lie in the file system, found 's3://bucket/a.zarr'"):
        open_image("s3://bucket/a.zarr", "`image`")


def test_damaged_chunks_are_named(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", TCZYX, "tczyx", version="0.5")
    for chunk in (path / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"`image`: '.*a\.zarr' cannot be read; is it complete"):
        np.asarray(open_image(path, "`image`").pixels)


def test_plates_are_many_fields(tmp_path):
    path = tmp_path / "plate.zarr"
    plate = zarr.open_group(str(path), mode="w")
    plate.attrs.update({"ome": {"plate": {"wells": [{"path": "A/1"}, {"path": "B/12"}]}}})
    for well in ("A/1", "B/12"):
        plate.create_group(well).attrs.update({"ome": {"well": {"images": [{"path": "0"}, {"path": "3"}]}}})
        for site in ("0", "3"):
            write_ome_zarr(path / well / site, TCZYX * (well == "A/1"), "tczyx", version="0.5")
            write_ome_zarr(path / well / site / "labels" / "cells", LABELS, "yx", version="0.5")
    fields = gather_fields(path, "cells", obs={name: {"dose": 1} for name in ("A1_0", "A1_3", "B12_0", "B12_3")})
    assert [field.name for field in fields] == ["A1_0", "A1_3", "B12_0", "B12_3"]
    assert fields[3].obs == {"well": "B12", "site": "3", "dose": 1}
    assert fields[1].labels == path / "A" / "1" / "3" / "labels" / "cells"
    np.testing.assert_array_equal(fields[1].open().pixels, TCZYX[0].max(1))
    with pytest.raises(ValueError, match=r"is no OME-Zarr image.*It is a plate with the wells \['A/1', 'B/12'\]"):
        open_image(path, "`image`")
    plate.attrs.update({"ome": {"plate": {"wells": []}}})
    with pytest.raises(ValueError, match="has no wells"):
        gather_fields(path, "cells")


def test_one_block_in_memory(tmp_path):
    """What is held while a field of 640 MiB is read block by block stays near the size of a block."""
    import tracemalloc

    path = tmp_path / "big.zarr"
    array = zarr.create_array(
        str(path), shape=(5, 8192, 8192), chunks=(1, 1024, 1024), dtype="uint16", fill_value=7, config={}
    )
    array[2, 5000, 6000] = 99
    pixels = open_image(path, "`image`").pixels
    block = 5 * 1024**2 * 2
    tracemalloc.start()
    largest = 0
    for y in range(0, 8192, 2048):
        for x in range(0, 8192, 1024):
            part = pixels[:, y : y + 1024, x : x + 1024]
            largest = max(largest, int(part.max()))
            del part
    largest = max(largest, int(pixels[:, 4096:5120, 5120:6144].max()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest == 99
    assert peak < 5 * block
