from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from skimage.io import imread
from skimage.measure import label

import saescape as sae


def test_nf1_has_binary_masks_of_132_objects():
    fields = sae.datasets.nf1_cell_painting()
    n_objects = 0
    for name, path in fields.images.items():
        image, mask = tifffile.imread(path), tifffile.imread(fields.labels[name])
        assert image.dtype == np.uint16
        assert image.shape == (3, 904, 1224)
        assert mask.shape == (904, 1224)
        assert set(np.unique(mask)) == {0, 255}
        n_objects += label(mask, connectivity=1).max()
        # channels are in the order named: nuclei are brighter inside the mask in DAPI, by far the most of the three
        inside = image[:, mask > 0].mean(1) / image[:, mask == 0].mean(1)
        assert inside.argmax() == fields.channel_names.index("DAPI")
    assert n_objects == 132
    assert list(fields.obs.index) == list(fields.images)


def test_blood_smear_boxes_lie_in_their_images():
    fields = sae.datasets.blood_smear()
    assert set(fields.boxes["field"]) == set(fields.images) == set(fields.obs.index)
    image = imread(next(iter(fields.images.values())))
    assert image.shape == (480, 640, 3)
    assert (fields.boxes[["width", "height"]] > 0).all(axis=None)
    assert fields.boxes["x"].between(0, 640).all()
    assert fields.boxes["y"].between(0, 480).all()
    assert fields.obs.to_numpy().sum() == len(fields.boxes)


def test_visium_spots_lie_on_tissue():
    adata, path = sae.datasets.visium_brain_crop()
    image = imread(path).astype(float)
    assert adata.shape == (49, 1999)
    x, y = adata.obsm["spatial"].astype(int).T
    # tissue is darker than the glass around it, so the spots' pixels lie below the image's brightest quarter
    assert np.median(image[y, x].mean(1)) < np.quantile(image.mean(2), 0.75)
    assert adata.obs["leiden"].dtype == "category"


def test_shipped_data_stay_small_and_licensed():
    folder = Path(sae.datasets.__file__).parent / "data"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 15e6
    for dataset in folder.iterdir():
        assert "Copyright" in (dataset / "LICENSE").read_text()
        assert "github.com" in (dataset / "SOURCE.md").read_text()


def test_white_blood_cells_differ_from_red_ones_by_named_features():
    fields = sae.datasets.blood_smear()
    names = list(fields.images)[:12]
    boxes = fields.boxes[fields.boxes["field"].isin(names)]
    adata = sae.pp.image_to_adata(
        {name: fields.images[name] for name in names},
        centers={name: boxes.loc[boxes["field"] == name, ["x", "y"]].to_numpy() for name in names},
        crop_size=48,
        show_progress_bar=False,
    )
    assert adata.n_obs == len(boxes)
    cell_type = np.concatenate([boxes.loc[boxes["field"] == name, "cell_type"].astype(str) for name in names])
    red = np.asarray(adata[:, "R_mean"].X).ravel()
    # their nuclei are stained violet: little red light comes through
    assert np.median(red[cell_type == "WBC"]) < np.quantile(red[cell_type == "RBC"], 0.1)
