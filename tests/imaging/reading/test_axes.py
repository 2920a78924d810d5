from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from saescape.imaging.reading._axes import check_axes
from saescape.imaging.reading._open import open_image
from saescape.imaging.reading._opened import Reading

RNG = np.random.default_rng(0)
CYX = RNG.integers(0, 1000, (3, 40, 50)).astype(np.uint16)
CZYX = RNG.integers(0, 1000, (3, 4, 40, 50)).astype(np.uint16)


@pytest.mark.parametrize("wrap", [np.asarray, da.from_array])
def test_declared_axes(wrap):
    cases = {
        "YXC": (CYX.transpose(1, 2, 0), CYX),
        "xyc": (CYX.transpose(2, 1, 0), CYX),
        "ZYX": (CZYX[0], CZYX[0].max(0)[None]),
        "YXZC": (CZYX.transpose(2, 3, 1, 0), CZYX.max(1)),
        "TCZYX": (CZYX[None], CZYX.max(1)),
        "YX": (CYX[0], CYX[:1]),
    }
    for axes, (array, expected) in cases.items():
        opened = open_image(wrap(array), "`image`", Reading(axes=check_axes(axes)))
        np.testing.assert_array_equal(opened.pixels, expected, err_msg=axes)
        assert opened.channel_names == tuple(f"channel_{i}" for i in range(len(expected)))


def test_colour_samples_and_alpha():
    rgba = RNG.integers(0, 255, (40, 50, 4)).astype(np.uint8)
    opened = open_image(rgba, "`image`", Reading(axes="YXS"))
    assert opened.channel_names == ("R", "G", "B")
    np.testing.assert_array_equal(opened.pixels, rgba[..., :3].transpose(2, 0, 1))


def test_declared_axes_win_over_dims():
    image = xr.DataArray(CZYX[0], dims=("c", "y", "x"), coords={"c": list("abcd")})
    assert open_image(image, "`image`").channel_names == ("a", "b", "c", "d")
    opened = open_image(image, "`image`", Reading(axes="ZYX"))
    np.testing.assert_array_equal(opened.pixels[0], CZYX[0].max(0))
    time = xr.DataArray(CYX[None], dims=("t", "c", "y", "x"))
    np.testing.assert_array_equal(open_image(time, "`image`").pixels, CYX)


@pytest.mark.parametrize(
    ("axes", "error", "match"),
    [
        ("CX", ValueError, "must name Y, X"),
        ("CYXX", ValueError, "each once"),
        ("CYXQ", ValueError, "found 'CYXQ'"),
        (("C", "Y", "X"), TypeError, "must be a string such as 'CYX', found tuple"),
    ],
)
def test_bad_axes(axes, error, match):
    with pytest.raises(error, match=match):
        check_axes(axes)


def test_axes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"`axes='YXC'` names 3 axes, but `image` has 2: shape \(40, 50\)"):
        open_image(CYX[0], "`image`", Reading(axes="YXC"))
    with pytest.raises(ValueError, match=r"axes 'TYX' of shape \(3, 40, 50\) cannot be read.*one field per time point"):
        open_image(CYX, "`image`", Reading(axes="TYX"))
    with pytest.raises(ValueError, match="axes 'TCYX' of shape"):
        open_image(CZYX, "`image`", Reading(axes="TCYX"))
    with pytest.raises(ValueError, match="which looks like .*`axes='YXC'`"):
        open_image(CYX.transpose(1, 2, 0), "`image`")
