from __future__ import annotations

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from saescape.imaging._scaling import ChannelSummary, dtype_scaling


def summarise(fields, block=7, seed=0):
    summary = ChannelSummary(fields[0].shape[0], fields[0].dtype, len(fields))
    for one in fields:
        summary.add(one, block, np.random.default_rng(seed), "`image`")
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
    with pytest.raises(ValueError, match=r"2 non-finite values, the first at \(channel, row, column\) \(1, 15, 3\)"):
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
