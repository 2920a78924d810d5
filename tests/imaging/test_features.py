from __future__ import annotations

import numpy as np
import pytest
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import regionprops_table

from saescape.imaging._features import feature_names, object_features
from saescape.imaging._hull import convex_area
from saescape.imaging._intensity import QUANTILES, ObjectPixels, sort_within
from saescape.imaging._scaling import Scaling
from saescape.imaging._texture import LEVELS, NeighbourPairs, cooccurrence, quantise, texture_features

CHANNELS = ["a", "b", "c"]
OURS_TO_SKIMAGE = {
    "mean": "intensity_mean",
    "sd": "intensity_std",
    "min": "intensity_min",
    "max": "intensity_max",
}
SHAPES = {
    **{name: name for name in ("area", "perimeter", "eccentricity", "solidity", "extent")},
    **{name: name for name in ("axis_major_length", "axis_minor_length")},
    "equivalent_diameter": "equivalent_diameter_area",
}


def named(image, labels):
    pixels = ObjectPixels(labels, int(labels.max()))
    values = image.reshape(len(image), -1)[:, pixels.index]
    scaling = Scaling(np.full(len(image), 100.0), np.full(len(image), 3000.0))
    matrix = object_features(labels, values, pixels, scaling, shape=True)
    names = feature_names(CHANNELS[: len(image)], shape=True)
    assert matrix.shape[1] == len(names) == len(set(names))
    return dict(zip(names, matrix.T, strict=True))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_equal_to_regionprops(field, dtype):
    image, labels = field
    image = (image // 300).astype(dtype) if dtype == np.uint8 else image.astype(dtype)
    if np.dtype(dtype).kind in "if":
        image = image - dtype(700)
    ours = named(image, labels)
    table = regionprops_table(
        labels, np.moveaxis(image, 0, -1), properties=(*OURS_TO_SKIMAGE.values(), *SHAPES.values())
    )
    for name, theirs in OURS_TO_SKIMAGE.items():
        for channel in range(3):
            np.testing.assert_allclose(ours[f"{CHANNELS[channel]}_{name}"], table[f"{theirs}-{channel}"], rtol=1e-5)
    for name, theirs in SHAPES.items():
        np.testing.assert_allclose(ours[f"shape_{name}"], table[theirs], rtol=1e-5, atol=1e-9, err_msg=name)


def test_distribution_against_numpy_and_scipy(field):
    from scipy import stats

    image, labels = field
    ours = named(image, labels)
    for i in range(1, 41):
        values = image[1][labels == i].astype(float)
        for q in QUANTILES:
            assert ours[f"b_q{round(100 * q):02d}"][i - 1] == pytest.approx(np.quantile(values, q))
        assert ours["b_skewness"][i - 1] == pytest.approx(stats.skew(values), abs=1e-9)
        assert ours["b_kurtosis"][i - 1] == pytest.approx(stats.kurtosis(values), abs=1e-9)
        assert ours["b_sum"][i - 1] == pytest.approx(values.sum())
        other = image[2][labels == i].astype(float)
        assert ours["corr_b_c"][i - 1] == pytest.approx(np.corrcoef(values, other)[0, 1], abs=1e-9)


def test_texture_equals_skimage_inside_the_mask(field):
    image, labels = field
    pixels = ObjectPixels(labels, 40)
    levels = quantise(image[0].ravel()[pixels.index], 100, 3000)
    ours = texture_features(cooccurrence(levels, NeighbourPairs(labels, pixels), 40))
    grey = quantise(image[0], 100, 3000)
    for i in range(1, 41):
        y, x = np.nonzero(labels == i)
        box = (slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1))
        # level 0 stands for everything outside the label and is dropped from the matrix
        inside = np.where(labels[box] == i, grey[box] + 1, 0).astype(np.uint8)
        counts = graycomatrix(inside, [1], [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4], LEVELS + 1, symmetric=True)
        total = counts[1:, 1:].sum(3, keepdims=True).astype(float)
        total /= total.sum()
        theirs = [
            graycoprops(total, prop)[0, 0]
            for prop in ("contrast", "dissimilarity", "homogeneity", "energy", "entropy", "correlation")
        ]
        np.testing.assert_allclose(ours[i - 1], theirs, rtol=1e-9, atol=1e-9)


def test_radial_distribution_and_displacement():
    y, x = np.mgrid[:41, :41] - 20
    labels = (y**2 + x**2 <= 18**2).astype(np.int32)
    central = np.where(y**2 + x**2 <= 6**2, 1000, 10).astype(np.uint16)
    ours = named(central[None], labels)
    assert ours["a_radial_inner"][0] > 5 > 1 > ours["a_radial_middle"][0]
    assert ours["a_displacement"][0] == pytest.approx(0, abs=1e-12)
    right = np.where(x > 0, 1000, 10).astype(np.uint16)
    ours = named(right[None], labels)
    # centre of mass of a half disc: 4 r / (3 pi)
    assert ours["a_displacement"][0] == pytest.approx(4 / (3 * np.pi), abs=0.03)


def test_constant_and_single_pixel_objects_are_finite():
    labels = np.zeros((10, 10), dtype=np.int32)
    labels[2, 2], labels[5:8, 5:8] = 1, 2
    image = np.stack([np.full((10, 10), 7), np.zeros((10, 10))]).astype(np.uint8)
    ours = named(image, labels)
    assert all(np.isfinite(column).all() for column in ours.values())
    assert ours["corr_a_b"].tolist() == [0, 0]
    assert ours["a_sd"].tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_sort_within(dtype):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(1, 5, dtype=np.int32), 25).reshape(10, 10)
    values = (rng.normal(size=100) * 50).astype(dtype)
    values[:3] = 0
    found = sort_within(values, ObjectPixels(labels, 4))
    expected = np.concatenate([np.sort(part) for part in values.reshape(4, 25)])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(4))
def test_convex_area_equals_skimage_on_ragged_and_disconnected_objects(seed):
    from scipy.ndimage import gaussian_filter
    from skimage.measure import label

    rng = np.random.default_rng(seed)
    labels = label(gaussian_filter(rng.normal(size=(70, 90)), 0.5 + seed) > 0)
    if seed == 0:
        labels = np.where(rng.random((70, 90)) < 0.1, rng.integers(1, 9, (70, 90)), 0)
    found = convex_area(ObjectPixels(labels, int(labels.max())))
    expected = regionprops_table(labels, properties=("area_convex",))["area_convex"]
    np.testing.assert_array_equal(found, expected)
