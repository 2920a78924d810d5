from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from saescape.contrastive._crops import CropSource


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 60_000, (40, 2, 8, 9)).astype(np.uint16)


def in_memory(pixels, folder):
    return pixels


def in_a_memory_map(pixels, folder):
    np.save(folder / "pixels.npy", pixels)
    return np.load(folder / "pixels.npy", mmap_mode="r")


def in_zarr(pixels, folder):
    array = zarr.create_array(str(folder / "pixels.zarr"), shape=pixels.shape, dtype=pixels.dtype, chunks=(7, 2, 8, 9))
    array[:] = pixels
    return array


def in_dask(pixels, folder):
    return da.from_array(pixels, chunks=(7, 1, 8, 9))


@pytest.mark.parametrize("kept", [in_memory, in_a_memory_map, in_zarr, in_dask])
def test_rows_come_in_the_order_asked_for(pixels, kept, tmp_path):
    rows = np.array([31, 2, 2, 39, 0, 31])
    part = CropSource(kept(pixels, tmp_path)).read(rows)
    np.testing.assert_array_equal(part.numpy(), pixels[rows].astype(np.float32))


def test_moments_are_those_of_all_pixels(pixels):
    mean, sd = CropSource(pixels).moments
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(sd, pixels.astype(float).std((0, 2, 3)), rtol=1e-9)
