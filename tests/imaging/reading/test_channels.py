from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from saescape.imaging.reading._channels import check_channels, name_channels
from saescape.imaging.reading._opened import OpenedImage, Reading

CYX = np.arange(3 * 4 * 5).reshape(3, 4, 5)
OPENED = OpenedImage(CYX, ("DAPI", "GFP", "a/b"), 0.5)


def chosen(opened, names=None, channels=None):
    reading = Reading(channel_names=names, channels=check_channels(channels))
    return name_channels(opened, reading, "`image`")


@pytest.mark.parametrize("wrap", [np.asarray, da.from_array])
def test_choose_and_rename(wrap):
    opened = OpenedImage(wrap(CYX), OPENED.channel_names, 0.5)
    found = chosen(opened, channels=["GFP", "DAPI"])
    assert found.channel_names == ("GFP", "DAPI")
    assert found.pixel_size == 0.5
    np.testing.assert_array_equal(found.pixels, CYX[[1, 0]])
    found = chosen(opened, channels={"a_b": "c/d", "GFP": "tubulin"})
    assert found.channel_names == ("c_d", "tubulin")
    np.testing.assert_array_equal(found.pixels, CYX[[2, 1]])


def test_names():
    assert chosen(OPENED).channel_names == ("DAPI", "GFP", "a_b")
    assert chosen(OPENED, names=("x", "y", "z")).channel_names == ("x", "y", "z")
    assert chosen(OPENED, names=("x", "y", "z"), channels=["z"]).channel_names == ("z",)
    assert chosen(OpenedImage(CYX, ("a", "a", "b"))).channel_names == ("channel_0", "channel_1", "channel_2")
    assert chosen(OpenedImage(CYX), channels=["channel_2"]).pixels.max() == CYX.max()


def test_errors():
    with pytest.raises(KeyError, match=r"`image` has no channel \['RFP'\]. Its channels are \['DAPI', 'GFP', 'a_b'\]"):
        chosen(OPENED, channels=["DAPI", "RFP"])
    with pytest.raises(ValueError, match="`channel_names` has 2 names, but `image` has 3 channels"):
        chosen(OPENED, names=("x", "y"))
    for channels, error, match in [
        ("DAPI", TypeError, "sequence of channel names or a mapping"),
        (3, TypeError, "found 3"),
        ([], ValueError, "`channels` is empty"),
        (["a", "a"], ValueError, "each channel once"),
        ({"a": "c", "b": "c"}, ValueError, "each channel once"),
    ]:
        with pytest.raises(error, match=match):
            check_channels(channels)
