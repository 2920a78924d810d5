from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from saescape.imaging._qc import QC_NAMES, block_quality, qc_columns

SATURATION, THRESHOLD = 900.0, 400.0


def quality(image, labels, n_objects=40, **kwargs):
    limits = np.full(len(image), SATURATION), np.full(len(image), THRESHOLD)
    found = block_quality(labels, image, n_objects, *limits, **kwargs)
    assert found.shape == (n_objects, len(image), len(QC_NAMES))
    return found


def expected(channel, inside, sharpness=None):
    values = channel[inside].astype(float)
    if sharpness is None:
        sharpness = ndimage.laplace(channel.astype(float), mode="mirror")
    shares = (values >= SATURATION).mean(), (values > THRESHOLD).mean()
    return [sharpness[inside].var(), values.mean(), values.std(), *shares]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float16, np.float32, np.float64])
def test_measures_against_brute_force(field, dtype):
    image, labels = field
    image = (image // 300 if dtype == np.uint8 else image % 2000).astype(dtype)
    found = quality(image, labels)
    for i in (1, 17, 40):
        np.testing.assert_allclose(found[i - 1, 1], expected(image[1], labels == i), rtol=1e-9)


def test_mirrored_at_the_border_of_the_field(field):
    image, _ = field
    image = image[:, :30, :40].astype(np.float32)
    found = quality(image, np.ones((30, 40), dtype=np.int32), 1)
    np.testing.assert_allclose(found[0, 0], expected(image[0], np.ones((30, 40), dtype=bool)), rtol=1e-9)
    line = quality(image[:, :1], np.ones((1, 40), dtype=np.int32), 1)
    np.testing.assert_allclose(line[0, 0, 0], ndimage.laplace(image[0, :1].astype(float), mode="mirror").var())


def test_one_more_pixel_makes_it_independent_of_the_block(field):
    image, labels = field
    whole = quality(image, labels)
    for i in (1, 22, 40):
        y, x = np.nonzero(labels == i)
        y0, x0 = max(y.min() - 1, 0), max(x.min() - 1, 0)
        box = (slice(y0, y.max() + 2), slice(x0, x.max() + 2))
        alone = quality(image[(slice(None), *box)], (labels[box] == i).astype(np.int32), 1)
        np.testing.assert_array_equal(alone[0], whole[i - 1])


def test_windows_are_mirrored_at_their_own_border(field):
    image, _ = field
    windows = [image[:, y : y + 24, 5:29] for y in (0, 11, 60)]
    stacked = np.concatenate(windows, axis=1)
    labels = np.repeat(np.arange(1, 4, dtype=np.int32), 24)[:, None] * np.ones(24, dtype=np.int32)
    # the last window reaches over the border of the field
    labels[-6:] = 0
    found = quality(stacked, labels, 3, window=(24, 24))
    for i, window in enumerate(windows):
        seen = window[:, : 18 if i == 2 else 24]
        np.testing.assert_allclose(found[i, 2], expected(seen[2], np.ones(seen.shape[1:], dtype=bool)), rtol=1e-9)


def test_missing_labels_and_large_offsets():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 30, 30)).round(3)
    labels = np.zeros((30, 30), dtype=np.int32)
    labels[2:20, 3:9], labels[0, 0] = 2, 7
    near, far = quality(image, labels, 2), quality(image + 1e7, labels, 2)
    assert np.isnan(near[0]).all()
    np.testing.assert_allclose(far[1, 0, [0, 2]], near[1, 0, [0, 2]], rtol=1e-6)


@pytest.mark.parametrize("dtype", [">u2", ">i2", ">f4"])
def test_byte_order_does_not_matter(field, dtype):
    image, labels = field
    image = image % 2000
    np.testing.assert_array_equal(quality(image.astype(dtype), labels), quality(image, labels))


def test_focus_falls_with_blur(field):
    image, labels = field
    focus = []
    for sigma in (0.1, 1, 3):
        blurred = np.stack([ndimage.gaussian_filter(channel.astype(float), sigma) for channel in image])
        focus.append(quality(blurred, labels)[:, 0, 0])
    assert (focus[0] > focus[1]).all()
    assert (focus[1] > focus[2]).all()


def test_columns_line_up():
    columns = qc_columns(["a", "b"])
    assert columns[:5] == ["qc_focus_a", "qc_mean_a", "qc_sd_a", "qc_saturated_a", "qc_foreground_a"]
    assert columns[5] == "qc_focus_b"
