from __future__ import annotations

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
