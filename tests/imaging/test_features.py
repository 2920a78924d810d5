from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import regionprops_table

from saescape.imaging._features import CHANNEL_NAMES, FAMILIES, block_features, feature_names
from saescape.imaging._quantiles import QUANTILES
from saescape.imaging._scaling import Scaling
from saescape.imaging._shape import SHAPE_NAMES
from saescape.imaging.kernels import _granularity, _radial, _texture

CHANNELS = ["a", "b", "c"]
OURS_TO_SKIMAGE = {
    "mean": "intensity_mean",
    "sd": "intensity_std",
    "min": "intensity_min",
    "max": "intensity_max",
}
SHAPES = {
    **{name: name for name in SHAPE_NAMES if name not in ("form_factor", "aspect_ratio", "feret_diameter_min")},
    "equivalent_diameter": "equivalent_diameter_area",
}
LOW, HIGH = 100.0, 3000.0


def scaling(n_channels):
    return Scaling(np.full(n_channels, LOW), np.full(n_channels, HIGH))


def named(image, labels, families=FAMILIES):
    matrix = block_features(labels, image, int(labels.max()), scaling(len(image)), families=families, shape=True)
    names = feature_names(CHANNELS[: len(image)], families=families, shape=True)
    assert matrix.shape[1] == len(names) == len(set(names))
    return dict(zip(names, matrix.T, strict=True))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.int64, np.float32, np.float64])
def test_equal_to_regionprops(field, dtype):
    image, labels = field
    image = (image // 300).astype(dtype) if dtype == np.uint8 else image.astype(dtype)
    if np.dtype(dtype).kind in "if":
        image = image - dtype(700)
    ours = named(image, labels, ("intensity", "quantiles", "shape"))
    table = regionprops_table(
        labels, np.moveaxis(image, 0, -1), properties=(*OURS_TO_SKIMAGE.values(), *SHAPES.values())
    )
    for name, theirs in OURS_TO_SKIMAGE.items():
        for channel in range(3):
            np.testing.assert_allclose(ours[f"{CHANNELS[channel]}_{name}"], table[f"{theirs}-{channel}"], rtol=1e-5)
    for name, theirs in SHAPES.items():
        np.testing.assert_allclose(ours[f"shape_{name}"], table[theirs], rtol=1e-5, atol=1e-9, err_msg=name)
    median = [np.median(image[1][labels == i].astype(np.float64)) for i in range(1, 41)]
    np.testing.assert_allclose(ours["b_q50"], median)


def test_distribution_against_numpy_and_scipy(field):
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


def test_moments_are_exact_on_a_large_offset():
    labels = np.ones((40, 40), dtype=np.int32)
    values = np.random.default_rng(0).normal(size=(1, 40, 40)).round(3)
    near, far = named(values, labels, ("intensity",)), named(values + 1e6, labels, ("intensity",))
    for name in ("sd", "skewness", "kurtosis", "displacement"):
        assert far[f"a_{name}"] == pytest.approx(near[f"a_{name}"], rel=1e-6)


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.float16, np.float32, np.float64]
)
def test_quantiles_of_every_type(dtype):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(1, 5, dtype=np.int32), [100, 1, 20, 279]).reshape(20, 20)
    image = (rng.normal(size=(2, 20, 20)) * 50).astype(dtype)
    image[:, :2, :3] = 0
    image[1, 5] = -image[1, 5]
    ours = block_features(labels, image, 4, scaling(2), families=("quantiles",), shape=False)
    for i in range(4):
        expected = [np.quantile(channel[labels == i + 1].astype(np.float64), QUANTILES) for channel in image]
        np.testing.assert_allclose(ours[i], np.concatenate(expected), rtol=1e-12)


def test_texture_equals_skimage_inside_the_mask(field):
    image, labels = field
    ours = named(image, labels, ("texture",))
    scaled = (image[0].astype(np.float32) - np.float32(LOW)) * np.float32(_texture.LEVELS / (HIGH - LOW))
    grey = np.clip(scaled, 0, _texture.LEVELS - 1).astype(int)
    for i in range(1, 41):
        y, x = np.nonzero(labels == i)
        box = (slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1))
        # level 0 stands for everything outside the label and is dropped from the matrix
        inside = np.where(labels[box] == i, grey[box] + 1, 0).astype(np.uint8)
        angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
        counts = graycomatrix(inside, [1], angles, _texture.LEVELS + 1, symmetric=True)
        total = counts[1:, 1:].sum(3, keepdims=True).astype(float)
        total /= total.sum()
        for name in ("contrast", "dissimilarity", "homogeneity", "energy", "entropy", "correlation"):
            mine = ours["a_glcm_correlation" if name == "correlation" else f"a_{name}"][i - 1]
            assert mine == pytest.approx(graycoprops(total, name)[0, 0], rel=1e-9, abs=1e-9), name


def test_rings_and_wedges_against_brute_force(field):
    image, labels = field
    ours = named(image, labels, ("radial",))
    for i in (1, 18, 40):
        y, x = np.nonzero(labels == i)
        values = image[1][y, x].astype(float)
        dy, dx = y - y.mean(), x - x.mean()
        distance = np.hypot(dy, dx)
        ring = np.minimum((distance / distance.max() * 3).astype(int), 2)
        wedge = np.char.add(np.char.add((dy < 0).astype(str), (dx < 0).astype(str)), (abs(dy) > abs(dx)).astype(str))
        assert len(set(wedge)) == _radial.N_WEDGES
        for r, name in enumerate(("inner", "middle", "outer")):
            inside = ring == r
            assert ours[f"b_radial_{name}"][i - 1] == pytest.approx(values[inside].mean() / values.mean())
            means = [values[inside & (wedge == w)].mean() for w in sorted(set(wedge[inside]))]
            assert ours[f"b_radial_cv_{name}"][i - 1] == pytest.approx(np.std(means) / np.mean(means))


def test_radial_distribution_and_displacement():
    y, x = np.mgrid[:41, :41] - 20
    labels = (y**2 + x**2 <= 18**2).astype(np.int32)
    central = np.where(y**2 + x**2 <= 6**2, 1000, 10).astype(np.uint16)
    ours = named(central[None], labels)
    assert ours["a_radial_inner"][0] > 5 > 1 > ours["a_radial_middle"][0]
    assert ours["a_radial_cv_outer"][0] == pytest.approx(0, abs=1e-12)
    assert ours["a_displacement"][0] == pytest.approx(0, abs=1e-12)
    right = np.where(x > 0, 1000, 10).astype(np.uint16)
    ours = named(right[None], labels)
    # centre of mass of a half disc: 4 r / (3 pi)
    assert ours["a_displacement"][0] == pytest.approx(4 / (3 * np.pi), abs=0.03)
    # half of the wedges are bright
    assert ours["a_radial_cv_outer"][0] == pytest.approx(1, abs=0.1)


def test_manders_coefficients_against_brute_force(field):
    image, labels = field
    ours = named(image, labels, ("correlation",))
    for i in (1, 18, 40):
        above = [np.maximum(channel[labels == i].astype(float) - LOW, 0) for channel in image]
        carries = [channel > 0.15 * channel.max() for channel in above]
        for a, b in ((0, 1), (1, 0), (2, 1)):
            signal = above[a] * carries[a]
            expected = signal[carries[b]].sum() / signal.sum()
            assert ours[f"manders_{CHANNELS[a]}_{CHANNELS[b]}"][i - 1] == pytest.approx(expected)


def test_manders_coefficients_are_shares_of_signal():
    labels = np.ones((4, 10), dtype=np.int32)
    image = np.full((2, 4, 10), LOW)
    image[0, :, :6] += 500
    image[1, :, 4:5] += 700
    ours = named(image, labels, ("correlation",))
    assert ours["manders_a_b"] == pytest.approx(1 / 6)
    assert ours["manders_b_a"] == pytest.approx(1)


def brute_force_granularity(values, mask):
    """The same transform with whole-image convolutions in float64."""
    spline = np.array([1, 4, 6, 4, 1]) / 16
    current = np.where(mask, values - values[mask].mean(), 0)
    energy = []
    for step in _granularity.SCALES:
        taps = np.zeros(4 * step + 1)
        taps[::step] = spline

        def smooth(array, taps=taps):
            for axis in (0, 1):
                array = ndimage.convolve1d(array, taps, axis=axis, mode="constant")
            return array

        smoothed = np.where(mask, smooth(current) / np.where(mask, smooth(mask.astype(float)), 1), 0)
        energy.append(((current - smoothed) ** 2).sum())
        current = smoothed
    return np.array(energy) / (sum(energy) + (current**2).sum())


def test_granularity_against_brute_force(field):
    image, labels = field
    ours = named(image, labels, ("granularity",))
    found = np.stack([ours[f"b_granularity_{scale}"] for scale in _granularity.SCALES], axis=1)
    for i in (1, 18, 40):
        expected = brute_force_granularity(image[1].astype(float), labels == i)
        np.testing.assert_allclose(found[i - 1], expected, rtol=1e-4, atol=1e-7)


def test_granularity_peaks_at_the_size_of_the_puncta():
    """Gaussian spots respond most at the scale whose taps lie closest to their standard deviation."""
    y, x = np.mgrid[:161, :161]
    labels = ((y - 80) ** 2 + (x - 80) ** 2 <= 78**2).astype(np.int32)
    rng = np.random.default_rng(0)
    peaks = []
    for sigma in (0.4, 1.3, 2.6, 5.2):
        spots = np.zeros((161, 161))
        step = int(np.ceil(9 * sigma))
        for top in range(step // 2, 161, step):
            for left in range(step // 2, 161, step):
                spots[tuple(np.clip([top, left] + rng.integers(0, 2, 2), 0, 160))] = 1
        image = ndimage.gaussian_filter(spots, sigma) * 1000 + 200
        ours = named(image[None], labels, ("granularity",))
        peaks.append(int(np.argmax([ours[f"a_granularity_{scale}"][0] for scale in _granularity.SCALES])))
    assert peaks == [0, 1, 2, 3]


def test_granularity_is_blind_to_offset_gain_and_surroundings(field):
    image, labels = field
    wanted = ("granularity",)
    reference = named(image.astype(float), labels, wanted)
    changed = named(np.where(labels > 0, 3.0 * image + 500, 60000.0), labels, wanted)
    for name, values in reference.items():
        np.testing.assert_allclose(changed[name], values, rtol=1e-4, atol=1e-7)
        assert (values >= 0).all()
    total = sum(reference[f"a_granularity_{scale}"] for scale in _granularity.SCALES)
    assert (total <= 1).all()


def test_constant_and_single_pixel_objects_are_finite():
    labels = np.zeros((10, 10), dtype=np.int32)
    labels[2, 2], labels[5:8, 5:8], labels[0, 4:9] = 1, 2, 3
    for image in (
        np.stack([np.full((10, 10), 7), np.zeros((10, 10))]).astype(np.uint8),
        np.full((2, 10, 10), 0.1, dtype=np.float32),
    ):
        ours = named(image, labels)
        assert all(np.isfinite(column).all() for column in ours.values())
        for name in ("corr_a_b", "a_sd", "a_skewness", "a_granularity_1", "a_entropy", "a_radial_cv_outer"):
            assert ours[name] == pytest.approx(np.zeros(3), abs=1e-9), name
        assert ours["a_homogeneity"].tolist() == [1, 1, 1]
        assert ours["shape_form_factor"][0] == 1


def test_results_do_not_depend_on_the_block_or_the_other_objects(field):
    image, labels = field
    whole = block_features(labels, image, 40, scaling(3), shape=True)
    for i in (1, 22, 40):
        y, x = np.nonzero(labels == i)
        for pad in (0, 3):
            y0, x0 = max(y.min() - pad, 0), max(x.min() - pad, 0)
            box = (slice(y0, y.max() + 1 + pad), slice(x0, x.max() + 1 + pad))
            alone = block_features(
                (labels[box] == i).astype(np.int32), image[(slice(None), *box)], 1, scaling(3), shape=True
            )
            np.testing.assert_array_equal(alone[0], whole[i - 1])


def test_windows_stacked_below_each_other_do_not_leak(field):
    image, _ = field
    windows = [image[:, y : y + 24, 5:29] for y in (0, 11, 60)]
    stacked = np.concatenate(windows, axis=1)
    labels = np.repeat(np.arange(1, 4, dtype=np.int32), 24)[:, None] * np.ones(24, dtype=np.int32)
    together = block_features(labels, stacked, 3, scaling(3), shape=False)
    for i, window in enumerate(windows):
        alone = block_features(np.ones((24, 24), dtype=np.int32), window, 1, scaling(3), shape=False)
        np.testing.assert_array_equal(alone[0], together[i])


def test_objects_larger_than_a_group_and_missing_labels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 4000, (2, 500, 600)).astype(np.uint16)
    labels = np.ones((500, 600), dtype=np.int32)
    labels[:5, :5], labels[495:] = 3, 4
    labels[0, 0] = 9  # beyond the number of objects: background
    found = block_features(labels, image, 4, scaling(2), families=("intensity", "shape"), shape=True)
    names = feature_names(["a", "b"], families=("intensity", "shape"), shape=True)
    assert np.isnan(found[1]).all()
    assert found[[0, 2, 3], names.index("shape_area")].tolist() == [296975, 24, 3000]
    assert found[0, names.index("b_mean")] == pytest.approx(image[1][labels == 1].mean())


def test_any_subset_of_families(field):
    image, labels = field
    whole = named(image, labels)
    for families in (("texture", "shape"), ("correlation",), ("intensity", "radial"), tuple(CHANNEL_NAMES)):
        for name, values in named(image, labels, families).items():
            np.testing.assert_array_equal(values, whole[name])
    assert block_features(labels, image, 40, scaling(3), families=("shape",), shape=False).shape == (40, 0)
    assert block_features(labels, image[:1], 40, scaling(1), families=("correlation",), shape=True).shape == (40, 0)


@pytest.mark.parametrize("change", [lambda a: a.astype(a.dtype.newbyteorder(">")), np.asfortranarray])
def test_layout_of_the_arrays_does_not_matter(field, change):
    image, labels = field
    for dtype in (np.uint16, np.int16, np.float32):
        expected = block_features(labels, image.astype(dtype), 40, scaling(3), shape=True)
        found = block_features(change(labels), change(image.astype(dtype)), 40, scaling(3), shape=True)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(4))
def test_shape_equals_skimage_on_ragged_and_disconnected_objects(seed):
    from skimage.measure import label

    rng = np.random.default_rng(seed)
    labels = label(ndimage.gaussian_filter(rng.normal(size=(70, 90)), 0.5 + seed) > 0).astype(np.int32)
    if seed == 0:
        labels = np.where(rng.random((70, 90)) < 0.1, rng.integers(1, 9, (70, 90)), 0).astype(np.int32)
    names = ("solidity", "perimeter", "euler_number", "feret_diameter_max", "eccentricity")
    found = named(np.zeros((1, 70, 90)), labels, ("shape",))
    expected = regionprops_table(labels, properties=names)
    for name in names:
        np.testing.assert_allclose(found[f"shape_{name}"], expected[name], rtol=1e-9, err_msg=name)


def test_feret_diameters_of_known_shapes():
    labels = np.zeros((60, 60), dtype=np.int32)
    labels[3:13, 3:33] = 1  # rectangle of 10 x 30
    y, x = np.mgrid[:60, :60]
    labels[(y - 38) ** 2 + (x - 38) ** 2 <= 18**2] = 2
    labels[(abs(y - 30) + abs(x - 10)) <= 8] = 3  # square on its tip
    ours = named(np.zeros((1, 60, 60)), labels, ("shape",))
    largest, smallest = ours["shape_feret_diameter_max"], ours["shape_feret_diameter_min"]
    # corners are cut, as the outline runs through the midpoints of pixel edges
    assert largest[0] == pytest.approx(np.hypot(10, 30), abs=1)
    assert smallest == pytest.approx([10, 37, 17 / np.sqrt(2)], abs=1)
    assert largest[1] == pytest.approx(37, abs=0.7)
    assert largest[2] == pytest.approx(17)
    assert smallest[0] == 10
