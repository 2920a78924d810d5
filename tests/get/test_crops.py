from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import tifffile

import saescape as sae


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(0)
    image = rng.integers(100, 60000, (2, 90, 110)).astype(np.uint16)
    labels = np.zeros((90, 110), dtype=np.int64)
    labels[0:12, 0:9], labels[40:60, 50:64], labels[80:90, 100:110] = 5, 900, 70
    labels[45:70, 64:75] = 31
    return image, labels


@pytest.fixture(scope="module")
def made(pixels):
    """AnnData and the crops that its encoder saw."""
    seen = []

    def spy(crops):
        seen.append(crops.numpy().copy())
        return crops.mean((2, 3))

    adata = sae.pp.image_to_adata(*pixels, encoder=spy, crop_size=30, show_progress_bar=False)
    return adata, seen[0]


def test_equal_to_what_the_encoder_saw(made):
    adata, seen = made
    found = sae.get.crops(adata)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, seen)
    assert (found[0, :, :9] == 0).all()  # padding above the image
    assert (found[1].sum(0) > 0).sum() <= 11 * 25


def test_order_subset_and_copy(made):
    adata, seen = made
    assert adata.obs_names.tolist() == ["image_5", "image_31", "image_70", "image_900"]
    np.testing.assert_array_equal(sae.get.crops(adata, ["image_900", "image_5"]), seen[[3, 0]])
    np.testing.assert_array_equal(sae.get.crops(adata[[2, 1]].copy()), seen[[2, 1]])
    np.testing.assert_array_equal(sae.get.crops(adata, "image_70"), seen[2:3])


def test_raw_unmasked_and_other_size(made, pixels):
    image, labels = pixels
    adata, _ = made
    raw = sae.get.crops(adata, "image_900", normalized=False, mask_crops=False, crop_size=10)
    np.testing.assert_array_equal(raw[0], image[:, 45:55, 52:62])
    assert raw.dtype == np.uint16
    masked = sae.get.crops(adata, "image_900", normalized=False, crop_size=40)
    np.testing.assert_array_equal(masked[0], (image * (labels == 900))[:, 30:70, 37:77])


def test_other_units(pixels):
    image, _ = pixels
    whole = sae.pp.image_to_adata([image, image // 2], encoder="filters", normalize=None, show_progress_bar=False)
    np.testing.assert_array_equal(sae.get.crops(whole), np.stack([image, image // 2]).astype(np.float32))
    shapes = sae.pp.image_to_adata([image, image[:, :50]], show_progress_bar=False)
    with pytest.raises(ValueError, match="different shapes; give `crop_size`"):
        sae.get.crops(shapes)
    assert sae.get.crops(shapes, crop_size=20).shape == (2, 2, 20, 20)
    with pytest.raises(ValueError, match="needs observations made from `labels`"):
        sae.get.crops(whole, mask_crops=True)


def test_floats_below_zero_are_padded_with_zero(pixels):
    image = pixels[0].astype(np.float32) - 70000
    seen = []

    def spy(crops):
        seen.append(crops.numpy().copy())
        return crops.mean((2, 3))

    adata = sae.pp.image_to_adata(image, centers=[[0, 0]], crop_size=20, encoder=spy, show_progress_bar=False)
    np.testing.assert_array_equal(sae.get.crops(adata), seen[0])
    assert (seen[0][0, :, :10] == 0).all()
    assert (seen[0][0, :, 10:, 10:] > 0).mean() > 0.9


@pytest.fixture
def on_disk(pixels, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", pixels[0], photometric="minisblack", metadata={"axes": "CYX"})
    tifffile.imwrite(folder / "a_labels.tif", pixels[1].astype(np.uint16))
    return folder, sae.pp.image_to_adata(
        folder / "a.tif", folder / "a_labels.tif", crop_size=30, show_progress_bar=False
    )


def test_moved_files(made, on_disk, tmp_path):
    folder, adata = on_disk
    np.testing.assert_array_equal(sae.get.crops(adata), made[1])
    folder.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match="no file"):
        sae.get.crops(adata)
    np.testing.assert_array_equal(sae.get.crops(adata, folder=tmp_path / "moved"), made[1])


def test_paths_of_a_file_are_not_trusted(on_disk, tmp_path):
    folder, adata = on_disk
    entry = adata.uns["image_to_adata"]["fields"]["image"]
    (tmp_path / "secret.tif").write_bytes((folder / "a.tif").read_bytes())
    entry["path"] = "../secret.tif"
    with pytest.raises(ValueError, match="leads out of `folder`"):
        sae.get.crops(adata, folder=folder)
    (folder / "link.tif").symlink_to(tmp_path / "secret.tif")
    entry["path"] = "link.tif"
    with pytest.raises(ValueError, match="leads out of `folder`"):
        sae.get.crops(adata, folder=folder)
    entry["path"] = "/etc/passwd"
    with pytest.raises(ValueError, match="is not an image file"):
        sae.get.crops(adata)


def test_another_image_under_the_same_name(on_disk, pixels):
    folder, adata = on_disk
    tifffile.imwrite(folder / "a.tif", pixels[0][:, :50], photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(ValueError, match="it is another image"):
        sae.get.crops(adata)


def test_errors(made, small):
    adata, _ = made
    with pytest.raises(KeyError, match=r"image_to_adata.*sae.pp.image_to_adata"):
        sae.get.crops(small)
    with pytest.raises(KeyError, match="2 of 3 are not in `adata.obs_names`; the first: 'a'"):
        sae.get.crops(adata, ["a", "image_5", "b"])
    with pytest.raises(ValueError, match="`obs_names` is empty"):
        sae.get.crops(adata, [])
    with pytest.raises(TypeError, match="`crop_size` must be an integer"):
        sae.get.crops(adata, crop_size=3.5)


@pytest.mark.parametrize("format", ["h5ad", "zarr"])
def test_round_trip_and_subset(made, tmp_path, format):
    adata, seen = made
    path = tmp_path / f"a.{format}"
    getattr(adata[[3, 0, 2]].copy(), f"write_{format}")(path)
    read = getattr(ad, f"read_{format}")(path)
    np.testing.assert_array_equal(sae.get.crops(read), seen[[3, 0, 2]])
    np.testing.assert_array_equal(sae.get.crops(read[1:], "image_70"), seen[[2]])


def test_rows_of_names_that_are_not_unique(made):
    adata, seen = made
    twice = adata[[0, 1, 2]].copy()
    twice.obs_names = ["a", "b", "a"]
    np.testing.assert_array_equal(sae.get.crops(twice, ["b", "a"]), seen[[1, 0, 2]])


class Counted:
    """Lazy array that counts the pixels read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.n_read = array, array.shape, array.dtype, 0

    def __getitem__(self, key):
        part = self.array[key]
        self.n_read += part.size
        return part


def test_only_windows_are_read_of_lazy_fields(pixels, monkeypatch):
    from saescape.imaging import _recut
    from saescape.imaging._labels import check_labels

    image = np.random.default_rng(0).integers(0, 60000, (2, 3000, 4000)).astype(np.uint16)
    labels = np.zeros((3000, 4000), dtype=np.int32)
    corners = [(5, 5), (20, 40), (1500, 1990), (1508, 2010), (2985, 3990)]
    for number, (y, x) in enumerate(corners):
        labels[y : y + 9, x : x + 8] = 10 * number + 3
    adata = sae.pp.image_to_adata(
        image, labels, crop_size=24, features=["intensity"], qc=False, show_progress_bar=False
    )
    expected, masks = (
        sae.get.crops(adata),
        _recut.recut_masks(adata.obs, adata.uns["image_to_adata"], crop_size=None, folder=None),
    )
    raw = sae.get.crops(adata, normalized=False)
    lazy, lazy_labels = Counted(image), Counted(labels)
    monkeypatch.setattr(_recut, "stored_pixels", lambda *_: lazy)
    given = {"ids": lazy_labels, "numbers": check_labels(labels, labels.shape, "labels")}
    for read in given.values():
        monkeypatch.setattr(_recut, "stored_labels", lambda *_, read=read: read)
        order = [4, 0, 2, 1, 3]
        np.testing.assert_array_equal(sae.get.crops(adata, adata.obs_names[order]), expected[order])
        np.testing.assert_array_equal(sae.get.crops(adata, normalized=False), raw)
        found = _recut.recut_masks(adata.obs, adata.uns["image_to_adata"], crop_size=None, folder=None)
        np.testing.assert_array_equal(found, masks)
    # four times the windows, and what lies between neighbours
    assert lazy.n_read < 4 * 2 * 25_000
    assert lazy_labels.n_read < 3 * 25_000


def test_labels_that_are_gone_leave_empty_masks(pixels):
    from saescape.imaging._labels import check_labels
    from saescape.imaging._windows import Part, label_reader

    labels = pixels[1]
    read, own = label_reader(check_labels(labels, labels.shape, "labels"), np.array([900, 6, 5, 1000]))
    part = read(Part(np.arange(4), (0, 0, *labels.shape), np.zeros((4, 4), dtype=int)))
    assert [int((part == number).sum()) for number in own] == [(labels == 900).sum(), 0, (labels == 5).sum(), 0]


@pytest.fixture
def forgotten(pixels, monkeypatch):
    """Pixels that were too large to be kept, with thumbnails."""
    from saescape.imaging import _store

    monkeypatch.setattr(_store, "MAX_KEPT_BYTES", 1000)
    return sae.pp.image_to_adata(*pixels, crop_size=30, thumbnails=15, show_progress_bar=False)


@pytest.mark.parametrize("format", ["h5ad", "zarr"])
def test_thumbnails_stand_in_for_pixels_that_were_not_kept(forgotten, made, tmp_path, format):
    path = tmp_path / f"a.{format}"
    getattr(forgotten, f"write_{format}")(path)
    read = getattr(ad, f"read_{format}")(path)[[2, 0]]
    with pytest.warns(UserWarning, match="Thumbnails stand in .* 15 x 15 pixels and 8 bits"):
        found = sae.get.crops(read)
    assert found.shape == (2, 2, 15, 15)
    assert found.dtype == np.float32
    expected = made[1].reshape(-1, 2, 15, 2, 15, 2).mean((3, 5))[[2, 0]]
    # rows at the edge of a mask differ: their area is only partly inside
    whole = (found > 0) & (sae.get.crops(made[0]).reshape(-1, 2, 15, 2, 15, 2) > 0).all((3, 5))[[2, 0]]
    np.testing.assert_allclose(found[whole], expected[whole], atol=0.005)
    with pytest.warns(UserWarning, match="Thumbnails"):
        unmasked = sae.get.crops(read, mask_crops=False)
    assert (unmasked > 0).mean() > (found > 0).mean()


def test_thumbnails_do_not_stand_in_for_measurements(forgotten):
    for wanted in ({"normalized": False}, {"crop_size": 20}):
        with pytest.raises(ValueError, match="too large to be kept"):
            sae.get.crops(forgotten, **wanted)
    del forgotten.obsm["thumbnails"]
    with pytest.raises(ValueError, match="too large to be kept"):
        sae.get.crops(forgotten)


def test_thumbnails_of_files_that_are_gone(pixels, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels[0], photometric="minisblack", metadata={"axes": "CYX"})
    adata = sae.pp.image_to_adata(path, centers=[[40, 40]], crop_size=20, thumbnails=20, show_progress_bar=False)
    before = sae.get.crops(adata)
    path.rename(tmp_path / "b.tif")
    with pytest.warns(UserWarning, match="no file"):
        found = sae.get.crops(adata)
    np.testing.assert_allclose(found, before, atol=0.0021)
    # another image is another matter
    tifffile.imwrite(path, pixels[0][:, :50], photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(ValueError, match="it is another image"):
        sae.get.crops(adata)
