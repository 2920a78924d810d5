from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from saescape.imaging._intensity import ObjectPixels
from saescape.imaging._qc import laplacian, qc_columns, qc_measures, qc_pass


def test_measures_against_brute_force(field):
    image, labels = field
    pixels = ObjectPixels(labels, 40)
    sharp = np.stack(list(laplacian(image)))
    flat = [array.reshape(3, -1)[:, pixels.index] for array in (image, sharp)]
    found = qc_measures(flat[0], flat[1], pixels, np.full(3, 900.0), np.full(3, 400.0))
    for i in (1, 17, 40):
        inside = labels == i
        expected = [sharp[1][inside].var(), image[1][inside].mean(), (image[1] >= 900)[inside].mean()]
        np.testing.assert_allclose(found[i - 1, 1], [*expected, (image[1] > 400)[inside].mean()], rtol=1e-5)


def test_blur_darkness_and_saturation_fail():
    rng = np.random.default_rng(0)
    measures = np.stack([rng.lognormal(5, 0.2, (60, 2)), rng.lognormal(6, 0.2, (60, 2))], axis=2)
    measures = np.concatenate([measures, np.zeros((60, 2, 2))], axis=2)
    measures[0, 0, 0] /= 1e3
    measures[1, 1, 1] *= 1e3
    measures[2, 1, 1] /= 1e3
    measures[3, 0, 2] = 0.06
    measures[4, 0, 0] *= 1e3  # sharper than the others is no fault
    assert np.flatnonzero(~qc_pass(measures, np.zeros(60, int))).tolist() == [0, 1, 2, 3]


def test_rule_is_per_field_and_small_fields_are_pooled():
    rng = np.random.default_rng(0)
    measures = np.zeros((66, 1, 4))
    measures[:, 0, :2] = rng.lognormal(5, 0.1, (66, 2))
    measures[30:60, 0, :2] *= 1000
    field = np.repeat([0, 1, 2], [30, 30, 6])
    assert qc_pass(measures, field).all()
    assert not qc_pass(measures, np.zeros(66, int)).all()
    constant = np.zeros((5, 1, 4))
    assert qc_pass(constant, np.arange(5)).all()


def test_focus_falls_with_blur(field):
    image, labels = field
    pixels = ObjectPixels(labels, 40)
    focus = []
    for sigma in (0.1, 1, 3):
        blurred = np.stack([gaussian_filter(channel.astype(float), sigma) for channel in image])
        flat = [array.reshape(3, -1)[:, pixels.index] for array in (blurred, np.stack(list(laplacian(blurred))))]
        focus.append(qc_measures(flat[0], flat[1], pixels, np.full(3, 1e9), np.zeros(3))[:, 0, 0])
    assert (focus[0] > focus[1]).all()
    assert (focus[1] > focus[2]).all()


def test_columns_line_up():
    assert qc_columns(["a", "b"])[:5] == ["qc_focus_a", "qc_mean_a", "qc_saturated_a", "qc_foreground_a", "qc_focus_b"]
