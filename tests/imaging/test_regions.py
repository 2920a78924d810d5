from __future__ import annotations

import numpy as np
import pytest

from saescape.imaging._labels import check_labels
from saescape.imaging._regions import center_regions, check_centers, image_region, label_regions, tile_regions

SHAPE = (6, 8)


def test_label_geometry_against_brute_force(field):
    _, labels = field
    found = label_regions(check_labels(labels, labels.shape, "`labels`", rows=11), 32)
    for i, label in enumerate(found.ids):
        y, x = np.nonzero(labels == label)
        assert found.boxes[i].tolist() == [y.min(), x.min(), y.max() + 1, x.max() + 1]
        assert found.area[i] == len(y)
        np.testing.assert_allclose(found.spatial[i], [x.mean(), y.mean()])
        at_border = y.min() == 0 or x.min() == 0 or y.max() == 199 or x.max() == 259
        assert found.touches_border[i] == at_border
    assert found.crop_boxes().shape == (40, 4)


@pytest.mark.parametrize(("smallest", "largest"), [(300, None), (None, 500), (300, 500), (300.5, 499.5)])
def test_labels_are_filtered_by_area(field, smallest, largest):
    _, labels = field
    whole = label_regions(check_labels(labels, labels.shape, "`labels`"), 32)
    found = label_regions(check_labels(labels, labels.shape, "`labels`"), 32, min_area=smallest, max_area=largest)
    expected = [
        label
        for label in range(1, 41)
        if (smallest or 0) <= np.sum(labels == label) <= (np.inf if largest is None else largest)
    ]
    assert 0 < len(expected) < 40
    assert found.ids.tolist() == expected
    assert found.n_removed == 40 - len(expected)
    np.testing.assert_array_equal(found.spatial, whole.spatial[found.ids - 1])
    numbers = found.labels.read(0, 200, 0, 260)
    np.testing.assert_array_equal(np.concatenate([[0], found.ids])[numbers], labels * np.isin(labels, expected))


def test_limits_of_area_are_inclusive():
    labels = np.zeros(SHAPE, dtype=int)
    labels[0, :3], labels[3, :4] = 5, 9
    image = check_labels(labels, SHAPE, "`labels`")
    assert label_regions(image, 4, min_area=3, max_area=4).ids.tolist() == [5, 9]
    assert label_regions(image, 4, min_area=4).ids.tolist() == [9]
    assert label_regions(image, 4, max_area=3).ids.tolist() == [5]
    assert len(label_regions(image, 4, min_area=5)) == 0


def test_tiles_drop_the_incomplete_edge():
    found = tile_regions((10, 13), 4, 4, "`image`")
    assert len(found) == 6
    assert found.crop_boxes()[-1].tolist() == [4, 8, 8, 12]
    assert found.spatial[0].tolist() == [1.5, 1.5]
    assert not found.touches_border.any()
    assert len(tile_regions((10, 13), 4, 3, "`image`")) == 12
    with pytest.raises(ValueError, match=r"`tile_size` \(11\) must not be larger .* `edge=\"pad\"` keeps"):
        tile_regions((10, 13), 11, 4, "`image`")


@pytest.mark.parametrize("shape", [(10, 13), (12, 8), (3, 9)])
@pytest.mark.parametrize(("tile", "stride"), [(4, 4), (4, 3), (4, 1), (3, 5), (7, 7), (20, 6), (1, 1)])
def test_padded_tiles_cover_the_image(shape, tile, stride):
    found = tile_regions(shape, tile, stride, "`image`", edge="pad")
    times = np.zeros((shape[0] + 40, shape[1] + 40), dtype=int)
    for (y0, x0, y1, x1), crop, area, spatial, border in zip(
        found.boxes, found.crop_boxes(), found.area, found.spatial, found.touches_border, strict=True
    ):
        times[crop[0] : crop[2], crop[1] : crop[3]] += 1
        assert (crop[2:] - crop[:2]).tolist() == [tile, tile]
        assert area == (y1 - y0) * (x1 - x0) > 0
        assert spatial.tolist() == [(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2]
        assert border == (area < tile**2)
    inside = times[: shape[0], : shape[1]]
    if stride <= tile:
        assert inside.min() > 0
    if tile <= min(shape):
        complete = tile_regions(shape, tile, stride, "`image`")
        boxes = {tuple(box) for box in complete.crop_boxes().tolist()}
        assert boxes == {
            tuple(box)
            for box, border in zip(found.crop_boxes().tolist(), found.touches_border, strict=True)
            if not border
        }
    # no tile lies inside the part that the ones before it cover
    tops = np.unique(found.crop_boxes()[:, 0])
    assert all(top + tile < shape[0] for top in tops[:-1])


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
