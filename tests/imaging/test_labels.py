from __future__ import annotations

import numpy as np
import pytest

from saescape.imaging._labels import check_labels
from saescape.imaging._regions import center_regions, check_centers, image_region, label_regions, tile_regions

SHAPE = (6, 8)


@pytest.mark.parametrize("big", [9, 70_000, 2**31])
def test_scattered_ids_are_kept(big):
    labels = np.zeros(SHAPE, dtype=np.int64)
    labels[0, 0], labels[3:5, 2:4] = 3, big
    found = check_labels(labels, SHAPE, "`labels`")
    assert found.ids.tolist() == [3, big]
    np.testing.assert_array_equal(np.concatenate([[0], found.ids])[found.labels], labels)


@pytest.mark.parametrize("value", [1, 255])
def test_binary_mask_becomes_components(value):
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[0, 0], labels[3:5, 2:4] = value, value
    found = check_labels(labels, SHAPE, "`labels`")
    assert found.was_binary
    assert found.ids.tolist() == [1, 2]
    one = check_labels(np.where(labels == value, 0, 0) + np.eye(6, 8, dtype=int) * value, SHAPE, "`labels`")
    assert not one.was_binary
    assert one.ids.tolist() == [value]


@pytest.mark.parametrize(
    ("labels", "error", "match"),
    [
        (np.zeros((3, 3), int), ValueError, r"`labels` has shape \(3, 3\), but its image is \(6, 8\)"),
        (np.zeros(SHAPE), TypeError, r"float64; cast it with `labels.astype\(int\)`"),
        (np.full(SHAPE, 0.5), TypeError, "probability map"),
        (np.full(SHAPE, -1), ValueError, "48 negative labels"),
        (np.full(SHAPE, "a"), TypeError, "must hold integers"),
    ],
)
def test_bad_labels(labels, error, match):
    with pytest.raises(error, match=match):
        check_labels(labels, SHAPE, "`labels`")


def test_label_geometry_against_brute_force(field):
    _, labels = field
    found = label_regions(check_labels(labels, labels.shape, "`labels`"), 32)
    for i, label in enumerate(found.ids):
        y, x = np.nonzero(labels == label)
        assert found.boxes[i].tolist() == [y.min(), x.min(), y.max() + 1, x.max() + 1]
        assert found.area[i] == len(y)
        np.testing.assert_allclose(found.spatial[i], [x.mean(), y.mean()])
        at_border = y.min() == 0 or x.min() == 0 or y.max() == 199 or x.max() == 259
        assert found.touches_border[i] == at_border


def test_tiles_drop_the_incomplete_edge():
    found = tile_regions((10, 13), 4, 4, "`image`")
    assert len(found) == 6
    assert found.crop_boxes()[-1].tolist() == [4, 8, 8, 12]
    assert found.spatial[0].tolist() == [1.5, 1.5]
    assert not found.touches_border.any()
    assert len(tile_regions((10, 13), 4, 3, "`image`")) == 12


def test_centers_and_whole_image():
    found = center_regions(np.array([[0.4, 5.0], [7.0, 2.6]]), SHAPE, 4, "`centers`")
    assert found.row.tolist() == [5, 3]
    assert found.col.tolist() == [0, 7]
    assert found.touches_border.all()
    assert found.area.tolist() == [3 * 2, 4 * 3]
    whole = image_region((5, 7))
    assert whole.crop_boxes().tolist() == [[0, 0, 5, 7]]
    with pytest.raises(ValueError, match="1 of 1 positions lie outside"):
        center_regions(np.array([[8.0, 0.0]]), SHAPE, 4, "`centers`")
    with pytest.raises(ValueError, match=r"must be a numeric \(n, 2\) array"):
        check_centers(np.zeros(3), "`centers`")
