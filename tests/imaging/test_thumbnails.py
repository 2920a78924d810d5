from __future__ import annotations

import numpy as np
import pytest

import saescape as sae
from saescape.imaging._thumbnails import area_weights, own_pixels, split_thumbnails

QUIET = {"show_progress_bar": False}


def scaled(image, adata):
    low, high = adata.uns["image_to_adata"]["thumbnail_bounds"].T[:, :, None, None]
    return np.clip((image - low) / (high - low), 0, 1)


def test_weights_are_areas():
    np.testing.assert_allclose(area_weights(6, 3), np.kron(np.eye(3), [[0.5, 0.5]]))
    np.testing.assert_allclose(area_weights(3, 2) * 3, [[2, 1, 0], [0, 1, 2]], rtol=1e-6)
    np.testing.assert_allclose(area_weights(2, 4), [[1, 0], [1, 0], [0, 1], [0, 1]])
    for length, side in ((64, 24), (7, 5), (5, 7)):
        np.testing.assert_allclose(area_weights(length, side).sum(1), 1, rtol=1e-6)


def test_labels_against_block_means(field):
    image, labels = field
    adata = sae.pp.image_to_adata(image, labels, crop_size=32, thumbnails=8, **QUIET)
    thumbnails = adata.obsm["thumbnails"]
    assert thumbnails.shape == (adata.n_obs, 4, 8, 8)
    assert thumbnails.dtype == np.uint8
    padded = np.pad(scaled(image, adata), ((0, 0), (32, 32), (32, 32)))
    ids = np.pad(labels, 32)
    for i in (0, 7, 25, 39):
        row, col = adata.obs["row"].iloc[i] + 16, adata.obs["col"].iloc[i] + 16
        window = (slice(row, row + 32), slice(col, col + 32))
        mean = padded[:, *window].reshape(3, 8, 4, 8, 4).mean((2, 4))
        np.testing.assert_allclose(thumbnails[i, :3], 255 * mean, atol=0.51)
        own = (ids[window] == adata.obs["instance_id"].iloc[i]).reshape(8, 4, 8, 4).mean((1, 3))
        np.testing.assert_allclose(thumbnails[i, 3], 255 * own, atol=0.51)


def test_lazy_fields_and_large_windows_in_strips(field, monkeypatch):
    import dask.array as da

    from saescape.imaging import _thumbnails, _windows

    image, labels = field
    expected = sae.pp.image_to_adata(image, labels, thumbnails=16, **QUIET).obsm["thumbnails"]
    whole = sae.pp.image_to_adata(image, thumbnails=16, **QUIET).obsm["thumbnails"]
    monkeypatch.setattr(_windows, "_NEIGHBOURHOOD", 100)
    monkeypatch.setattr(_thumbnails, "_MAX_PIXELS", 20_000)
    monkeypatch.setattr(_thumbnails, "_BATCH", 3)
    lazy = da.from_array(image, chunks=(1, 60, 70))
    found = sae.pp.image_to_adata(lazy, da.from_array(labels, chunks=64), thumbnails=16, **QUIET).obsm["thumbnails"]
    assert np.abs(found.astype(int) - expected).max() <= 1
    found = sae.pp.image_to_adata(lazy, thumbnails=16, **QUIET).obsm["thumbnails"]
    assert np.abs(found.astype(int) - whole).max() <= 1


def test_images_are_padded_to_squares(field):
    image, _ = field
    adata = sae.pp.image_to_adata([image, image[:, :100]], thumbnails=26, **QUIET)
    thumbnails = adata.obsm["thumbnails"]
    # 200 x 260 pixels in 26: three rows of padding above and below
    assert (thumbnails[0, :, :3] == 0).all()
    assert (thumbnails[0, 3, 3:23] == 255).all()
    mean = scaled(image, adata).reshape(3, 20, 10, 26, 10).mean((2, 4))
    np.testing.assert_allclose(thumbnails[0, :3, 3:23], 255 * mean, atol=0.51)
    assert (thumbnails[1, 3] == 255).any(1).sum() == 10


def test_rgb_is_kept_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
    adata = sae.pp.image_to_adata(image, channel_names=["R", "G", "B"], tile_size=16, thumbnails=16, **QUIET)
    np.testing.assert_array_equal(adata.obsm["thumbnails"][3, :3], image[:, 16:, 16:])


def test_split():
    thumbnails = np.zeros((1, 3, 2, 2), dtype=np.uint8)
    thumbnails[0, :2] = [[[255, 51], [0, 255]]]
    thumbnails[0, 2] = [[255, 127], [128, 0]]
    assert own_pixels(thumbnails).tolist() == [[[True, False], [True, False]]]
    np.testing.assert_allclose(split_thumbnails(thumbnails, mask=False)[0, 1], [[1, 0.2], [0, 1]])
    np.testing.assert_allclose(split_thumbnails(thumbnails, mask=True)[0, 0], [[1, 0], [0, 0]])


def test_none_by_default_and_bad_sides(field):
    assert "thumbnails" not in sae.pp.image_to_adata(field[0], tile_size=50, **QUIET).obsm
    with pytest.raises(ValueError, match="`thumbnails` must be between 8 and 1024"):
        sae.pp.image_to_adata(field[0], thumbnails=4, **QUIET)
    with pytest.raises(TypeError, match="`thumbnails` must be an integer"):
        sae.pp.image_to_adata(field[0], thumbnails=True, **QUIET)


def test_memory_is_checked_before_the_work(field, monkeypatch):
    from saescape import _memory
    from saescape.imaging import _measure

    monkeypatch.setattr(_memory, "_CHECKED_BYTES", 0)
    monkeypatch.setattr(_memory, "available_memory", lambda: 1000)
    monkeypatch.setattr(_measure, "NamedFeatures", None)
    with pytest.raises(MemoryError, match=r"`thumbnails` needs .* make them smaller"):
        sae.pp.image_to_adata(field[0], tile_size=20, thumbnails=20, **QUIET)
