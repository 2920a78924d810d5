from __future__ import annotations

import numpy as np
import pytest
import zarr

from saescape.imaging.reading._axes import order_array
from saescape.imaging.reading._channels import take
from saescape.imaging.reading._lazy import OrderedAxes, Plane, Shifted, Stacked

RNG = np.random.default_rng(0)
CYX = RNG.integers(0, 60000, (4, 30, 41)).astype(np.uint16)
CZYX = RNG.integers(0, 60000, (4, 5, 30, 41)).astype(np.uint16)
KEYS = [
    np.s_[:, 3:9, 5:20],
    np.s_[1:3, :, 7],
    np.s_[2],
    np.s_[-1, -5:, :4],
    np.s_[..., 3:5],
    np.s_[[3, 0], 2:4],
    np.s_[np.array([True, False, True, False])],
    np.s_[:, 10:10],
    np.s_[:, ::3, 1::2],
]


class Recorded:
    """An array that remembers the largest part that was read of it."""

    def __init__(self, array, chunks=None):
        self.array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, chunks
        self.largest = 0

    def __getitem__(self, key):
        part = self.array[key]
        self.largest = max(self.largest, part.size)
        return part


@pytest.mark.parametrize("key", KEYS)
def test_indexing_is_that_of_numpy(key):
    sources = {
        "CYX": CYX,
        "YXC": CYX.transpose(1, 2, 0),
        "XCY": CYX.transpose(2, 0, 1).astype(">u2"),
        "TCYXZ": CYX[None, ..., None],
    }
    for axes, source in sources.items():
        lazy = OrderedAxes(Recorded(source), axes, "C")
        found = lazy[key]
        np.testing.assert_array_equal(found, CYX[key])
        assert found.dtype == np.uint16
        assert found.dtype.isnative
    np.testing.assert_array_equal(Stacked([[one[None]] for one in CYX])[key], CYX[key])
    np.testing.assert_array_equal(take(OrderedAxes(Recorded(CYX[::-1]), "CYX", "C"), [3, 2, 1, 0])[key], CYX[key])


def test_projection_reads_plane_by_plane():
    source = Recorded(CZYX)
    lazy = OrderedAxes(source, "CZYX", "C")
    np.testing.assert_array_equal(lazy, CZYX.max(1))
    np.testing.assert_array_equal(lazy[1:3, 5:20, 7:9], CZYX.max(1)[1:3, 5:20, 7:9])
    assert source.largest == CYX.size
    chunked = Recorded(CZYX, chunks=(1, 2, 10, 10))
    lazy = OrderedAxes(chunked, "CZYX", "C")
    np.testing.assert_array_equal(lazy, CZYX.max(1))
    assert chunked.largest == 2 * CYX.size
    assert lazy.chunks == (1, 10, 10)
    several = Stacked([[one[z : z + 1] for z in range(5)] for one in CZYX])
    np.testing.assert_array_equal(several[:, 4:11], CZYX.max(1)[:, 4:11])


def test_what_is_read_owns_its_memory():
    lazy = OrderedAxes(CYX, "CYX", "C")
    part = lazy[:, :5]
    part[:] = 0
    assert CYX[:, :5].any()


def test_iteration_and_bounds():
    lazy = OrderedAxes(Recorded(CYX), "CYX", "C")
    np.testing.assert_array_equal(np.stack(list(lazy)), CYX)
    assert len(lazy) == 4
    for key in (4, np.s_[:, 30], np.s_[0, 0, 0, 0], np.s_[:, ::-1], np.s_[:, [1, 5]]):
        with pytest.raises(IndexError):
            lazy[key]


@pytest.mark.parametrize("offset", [(3, 4), (-3, -4), (-2, 30), (25, -30), (40, 0)])
def test_shifted_labels(offset):
    labels = RNG.integers(1, 9, (30, 41)).astype(np.int32)
    expected = np.zeros((28, 50), dtype=np.int32)
    for y in range(28):
        for x in range(50):
            row, column = y - offset[0], x - offset[1]
            if 0 <= row < 30 and 0 <= column < 41:
                expected[y, x] = labels[row, column]
    shifted = Shifted(labels, offset, (28, 50))
    np.testing.assert_array_equal(shifted, expected)
    np.testing.assert_array_equal(shifted[5:17, 20:44], expected[5:17, 20:44])


def test_zarr_arrays_are_read_by_slices(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=CZYX.shape, chunks=(1, 1, 16, 16), dtype="uint16")
    array[:] = CZYX
    pixels = order_array(array, None, "`image`").pixels
    assert isinstance(pixels, OrderedAxes)
    np.testing.assert_array_equal(pixels[[2, 0], 3:8], CZYX.max(1)[[2, 0], 3:8])
    plane = Plane(order_array(array, None, "`image`").pixels)
    np.testing.assert_array_equal(plane[2:5, 1:], CZYX.max(1)[0, 2:5, 1:])
    assert plane.chunks == (16, 16)
