from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from saescape.imaging.encoders._filters import SIGMAS, FilterBank, derivative_matrix, filter_names


def test_derivatives_equal_scipy():
    image = np.random.default_rng(0).normal(size=(40, 50))
    for sigma in SIGMAS:
        for order in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (0, 2)]:
            ours = (
                derivative_matrix(40, sigma, order[0]).double().numpy()
                @ image
                @ derivative_matrix(50, sigma, order[1]).double().numpy().T
            )
            theirs = gaussian_filter(image, sigma, order=order, mode="reflect") * sigma ** sum(order)
            np.testing.assert_allclose(ours, theirs, atol=3e-3)


def test_names_and_maps_line_up():
    crops = torch.from_numpy(np.random.default_rng(0).random((3, 2, 64, 64), dtype=np.float32))
    maps = FilterBank()(crops)
    names = filter_names(["a", "b"])
    assert maps.shape == (3, len(names), 8, 8)
    intensity = crops.reshape(3, 2, 8, 8, 8, 8).mean((3, 5))
    torch.testing.assert_close(maps[:, [names.index("a_intensity"), names.index("b_intensity")]], intensity)


def test_responses_to_known_patterns():
    names = filter_names(["a"])

    def respond(image):
        maps = FilterBank()(torch.from_numpy(image.astype(np.float32))[None, None])
        return dict(zip(names, maps[0].numpy(), strict=True))

    y, x = np.mgrid[:64, :64]
    flat = respond(np.full((64, 64), 0.7))
    assert all(np.abs(flat[name]).max() < 1e-5 for name in names if name != "a_intensity")
    ramp = respond(x / 64)
    np.testing.assert_allclose(ramp["a_gradient_s2"][3:5, 3:5], 2 / 64, rtol=0.02)
    assert ramp["a_bright_s2"][3:5, 3:5].max() < 1e-4
    spot = np.exp(-((y - 32) ** 2 + (x - 32) ** 2) / (2 * 4**2))
    assert respond(spot)["a_bright_s4"][3:5, 3:5].min() > 0.1 > respond(-spot)["a_bright_s4"][3:5, 3:5].max()
    # a line is a ridge, a spot's centre is not; rotation by 90 degrees changes nothing but the position
    line = respond(np.exp(-((x - 32) ** 2) / 8))
    turned = respond(np.exp(-((y - 32) ** 2) / 8))
    for name in names:
        np.testing.assert_allclose(line[name], turned[name].T, atol=1e-5)


def test_crops_smaller_than_the_grid_and_kernel():
    maps = FilterBank()(torch.ones((2, 1, 5, 3)))
    assert maps.shape == (2, 13, 5, 3)
    assert bool(torch.isfinite(maps).all())
