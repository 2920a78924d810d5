from __future__ import annotations

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from saescape.imaging import _scaling
from saescape.imaging._scaling import ChannelSummary, dtype_scaling
from saescape.imaging._strips import iterate_strips


def summarise(fields, block=7, seed=0):
    summary = ChannelSummary(fields[0].shape[0], fields[0].dtype, len(fields))
    for one in fields:
        summary.add(iterate_strips(one, block), one.shape[1:], np.random.default_rng(seed), "`image`")
    return summary


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32])
def test_percentiles_over_all_fields_are_exact(dtype):
    rng = np.random.default_rng(0)
    fields = [rng.normal(size=(2, 30, 20)) * 20 + 60 * i + 60 for i in range(3)]
    fields = [np.clip(one, 0, 250).astype(dtype) - (dtype(100) if dtype == np.int16 else dtype(0)) for one in fields]
    scaling = summarise(fields).percentile_scaling(["a", "b"])
    together = np.concatenate([one.reshape(2, -1) for one in fields], axis=1).astype(float)
    np.testing.assert_allclose(scaling.low, np.percentile(together, 0.1, axis=1), rtol=1e-6)
    np.testing.assert_allclose(scaling.high, np.percentile(together, 99.9, axis=1), rtol=1e-6)


def test_byte_order_does_not_matter():
    field = np.random.default_rng(0).integers(0, 900, (2, 30, 20)).astype(np.uint16)
    swapped = summarise([field.astype(">u2")])
    np.testing.assert_array_equal(swapped.counts, summarise([field]).counts)
    np.testing.assert_array_equal(swapped.counts[1], np.bincount(field[1].ravel(), minlength=2**16))


@pytest.mark.parametrize("shape", [(300, 200), (2000, 3), (3, 2000), (70, 70)])
@pytest.mark.parametrize("n_pixels", [1024, 4900, 20_000])
def test_sample_of_floats(shape, n_pixels, monkeypatch):
    monkeypatch.setattr(_scaling, "_SAMPLE_PIXELS", n_pixels)
    # every pixel is told by its value
    image = np.arange(2 * np.prod(shape), dtype=np.float64).reshape(2, *shape)
    kept = [summarise([image], block=block)._values(0) for block in (1, 13, 5000)]
    for other in kept[1:]:
        np.testing.assert_array_equal(np.sort(other), np.sort(kept[0]))
    n_all = np.prod(shape)
    assert 0.6 * min(n_pixels, n_all) <= len(kept[0]) <= 1.6 * min(n_pixels, n_all)
    if n_pixels >= n_all:
        assert len(np.unique(kept[0])) == n_all
    # rows and columns are drawn alike
    row, col = np.divmod(kept[0], shape[1])
    assert abs(row.mean() / (shape[0] - 1) - 0.5) < 0.05
    assert abs(col.mean() / (shape[1] - 1) - 0.5) < 0.05


def test_otsu_agrees_with_skimage():
    rng = np.random.default_rng(0)
    image = np.where(
        rng.random((1, 80, 80)) < 0.3, rng.normal(3000, 200, (1, 80, 80)), rng.normal(500, 100, (1, 80, 80))
    )
    expected = threshold_otsu(image[0])
    for dtype in (np.uint16, np.float32):
        found = summarise([image.astype(dtype)]).otsu()[0]
        # any threshold in the gap separates the two; compare what it separates
        assert np.mean((image > found) != (image > expected)) < 0.005


def test_bad_pixels_are_counted_and_located():
    image = np.ones((2, 20, 10), dtype=np.float32)
    image[1, 15, 3], image[1, 16, 4] = np.nan, np.inf
    with pytest.raises(
        ValueError,
        match=r"2 non-finite values \(1 % of channel 1\), the first at \(channel, row, column\) \(1, 15, 3\)",
    ):
        summarise([image])


def test_constant_and_sparse_channels():
    image = np.zeros((2, 60, 60), dtype=np.uint8)
    image[1, 0, 0] = 200
    with pytest.warns(UserWarning, match="every pixel of channel a has the same value"):
        scaling = summarise([image]).percentile_scaling(["a", "b"])
    assert scaling.high.tolist() == [1, 200]
    assert scaling(image[None]).max() == 1


def test_saturation_knows_cameras_of_12_bits():
    image = np.array([[[4095, 3]], [[900, 3]]], dtype=np.uint16)
    assert summarise([image]).saturation().tolist() == [4095, 65535]
    assert summarise([image.astype(np.float32)]).saturation().tolist() == [4095, 900]


def test_dtype_scaling():
    image = np.array([0, 128, 255], dtype=np.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(dtype_scaling(image.dtype, 1)(image).ravel(), [0, 128 / 255, 1])
    np.testing.assert_allclose(dtype_scaling(np.dtype("f4"), 1)(image / 510).ravel(), [0, 128 / 510, 0.5], rtol=1e-6)
