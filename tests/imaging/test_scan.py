from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from saescape.imaging import _strips
from saescape.imaging._collect import collect_fields
from saescape.imaging._preview import Preview
from saescape.imaging._scan import region_finder, scan_fields
from saescape.imaging.reading._opened import Reading


class Recorder:
    """A lazy (C, Y, X) or (Y, X) array that knows what was asked of it."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.sizes = array, array.shape, array.dtype, []

    @property
    def ndim(self):
        return len(self.shape)

    def __getitem__(self, key):
        part = self.array[key]
        self.sizes.append(part.size)
        return part


def scan(image, labels=None, *, block=2048, seed=0, compartments=None, **kwargs):
    fields = collect_fields(image, labels, None, "image", compartments=compartments)
    unit = "image" if labels is None else "label"
    finder = region_finder(unit, crop_size=32, tile_size=None, stride=None, **kwargs)
    return scan_fields(fields, finder, block=block, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_image_and_labels_are_read_once_in_strips(field, dtype, monkeypatch):
    monkeypatch.setattr(_strips, "STRIP_BYTES", 20_000)
    image, labels = Recorder(field[0].astype(dtype)), Recorder(field[1])
    found = scan(image, labels)
    assert len(found.regions[0]) == 40
    for array, row in ((image, 3 * 260), (labels, 260)):
        assert sum(array.sizes) == array.array.size
        assert max(array.sizes) <= max(20_000 // array.dtype.itemsize, row)
        assert len(array.sizes) > 5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("shape", [(200, 260), (70, 70), (1, 300), (300, 1)])
def test_strips_change_nothing(dtype, shape, monkeypatch):
    from saescape.imaging import _scaling, _scan

    monkeypatch.setattr(_scaling, "_SAMPLE_PIXELS", 5000)
    monkeypatch.setattr(_scan, "MAX_PREVIEW_SIDE", 50)
    monkeypatch.setattr(_scan, "MIN_PREVIEW_SIDE", 50)
    image = np.random.default_rng(0).gamma(2, 20, (2, *shape)).astype(dtype)
    whole = scan(image)
    expected = whole.previews[0]
    height, width = (n // whole.preview_factors[0] for n in shape)
    factor = whole.preview_factors[0]
    blocks = image[:, : height * factor, : width * factor].reshape(2, height, factor, width, factor)
    np.testing.assert_allclose(expected, blocks.mean((2, 4), dtype=float), rtol=1e-6)
    for block, chunks in ((1, -1), (37, -1), (64, (1, 33, 50))):
        given = image if chunks == -1 else da.from_array(image, chunks=chunks)
        other = scan(given, block=block)
        np.testing.assert_allclose(other.previews[0], expected, rtol=1e-6)
        assert other.summary.counted == whole.summary.counted
        for channel in range(2):
            if whole.summary.counted:
                np.testing.assert_array_equal(other.summary.counts[channel], whole.summary.counts[channel])
                assert whole.summary.counts[channel].sum() == shape[0] * shape[1]
            else:
                kept = whole.summary._values(channel)
                np.testing.assert_array_equal(np.sort(other.summary._values(channel)), np.sort(kept))
                assert 2500 <= len(kept) <= 5200 or len(kept) == shape[0] * shape[1]


def test_strips_are_whole_chunks(monkeypatch):
    monkeypatch.setattr(_strips, "STRIP_BYTES", 260 * 2 * 75)
    image = da.zeros((260, 260), chunks=(30, 260), dtype=np.uint16)
    assert _strips.strip_rows(image) == 60
    assert _strips.strip_rows(image, 40) == 30
    assert _strips.strip_rows(da.zeros((260, 260), chunks=(200, 260), dtype=np.uint16)) == 200
    assert _strips.strip_rows(np.zeros((3, 260, 260), dtype=np.uint16)) == 25
    assert _strips.strip_rows(np.zeros((5, 260), dtype=np.uint16)) == 5


@pytest.mark.parametrize("factor", [1, 3, 7])
def test_preview_of_any_strips(factor):
    image = np.random.default_rng(0).normal(size=(2, 50, 41))
    preview = Preview(image.shape, factor)
    for start in range(0, 50, 8):
        preview.add(start, image[:, start : start + 8])
    height, width = 50 // factor, 41 // factor
    blocks = image[:, : height * factor, : width * factor].reshape(2, height, factor, width, factor)
    np.testing.assert_allclose(preview.mean(), blocks.mean((2, 4)), rtol=1e-5, atol=1e-6)


def test_labels_from_files_are_not_held_after_the_scan(field, tmp_path):
    import tifffile

    path = tmp_path / "labels.tif"
    tifffile.imwrite(path, field[1].astype(np.uint16), compression="zlib")
    found = scan(field[0], path, compartments={"nucleus": path, "rest": "rest"}).regions[0]
    assert found.labels.source._opened is None
    assert found.compartments["nucleus"].labels.source._opened is None
    np.testing.assert_array_equal(found.labels.read(0, 200, 0, 260), field[1])
    np.testing.assert_array_equal(found.compartments["nucleus"].read(0, 200, 0, 260), field[1])
    assert not found.compartments["rest"].counts.any()


def test_names_that_would_be_mixed_up(field):
    image, labels = field
    reading = Reading(channel_names=("DAPI", "nucleus_DAPI", "x"))
    fields = collect_fields(image, labels, None, "image", compartments={"nucleus": labels}, reading=reading)
    finder = region_finder("label", crop_size=32, tile_size=None, stride=None)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"several fields are named \['image'\]"):
        scan_fields([fields[0], replace(fields[0])], finder, block=64, rng=rng)
    with pytest.raises(ValueError, match="'DAPI' in 'nucleus' would be .* 'nucleus_DAPI'; rename the compartment"):
        scan_fields(fields, finder, block=64, rng=rng)
