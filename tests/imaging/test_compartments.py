from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from saescape.imaging._compartments import match_compartments
from saescape.imaging._labels import check_labels
from saescape.pp._region_arguments import check_compartments


def image(labels):
    return check_labels(labels, labels.shape, "`labels`")


def numbers(compartment):
    return compartment.read(0, compartment.cells.shape[0], 0, compartment.cells.shape[1])


@pytest.fixture
def nuclei(field):
    """Objects that lie anywhere: inside cells, on their borders and outside; ids are not those of the cells."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:200, :260]
    found = np.zeros((200, 260), dtype=np.int64)
    for label in rng.permutation(90) * 7 + 1000:
        row, col, radius = rng.uniform(0, 200), rng.uniform(0, 260), rng.uniform(2, 7)
        found[(y - row) ** 2 + (x - col) ** 2 < radius**2] = label
    return found


def owners(cells, objects):
    """Brute force: the cell with most pixels of an object, if they are half of it."""
    found = []
    for label in np.unique(objects)[1:]:
        ids, overlap = np.unique(cells[objects == label], return_counts=True)
        ids, overlap = ids[ids > 0], overlap[ids > 0]
        best = int(np.argmax(overlap)) if len(ids) else None
        found.append(ids[best] - 1 if best is not None and 2 * overlap[best] >= np.sum(objects == label) else -1)
    return np.array(found)


@pytest.mark.parametrize("rows", [1, 13, 200])
@pytest.mark.parametrize("wrap", [np.asarray, lambda labels: da.from_array(labels, chunks=(50, 64))])
def test_owner_is_the_cell_of_largest_overlap(field, nuclei, rows, wrap):
    cells = field[1]
    matched = match_compartments(image(wrap(cells)), {"nucleus": image(wrap(nuclei))}, rows=rows)["nucleus"]
    expected = owners(cells, nuclei)
    assert 5 < np.sum(expected < 0) < 80
    assert np.bincount(expected[expected >= 0]).max() > 1
    np.testing.assert_array_equal(matched.owner, expected)
    np.testing.assert_array_equal(matched.counts, np.bincount(expected[expected >= 0], minlength=40))
    assert matched.n_unmatched == np.sum(expected < 0)
    position = np.searchsorted(np.unique(nuclei), nuclei)
    owner = np.concatenate([[-1], expected])[position]
    whole = np.where((owner >= 0) & (owner + 1 == cells), owner + 1, 0)
    assert numbers(matched).dtype == np.int32
    np.testing.assert_array_equal(numbers(matched), whole)
    np.testing.assert_array_equal(matched.read(31, 120, 55, 201), whole[31:120, 55:201])


@pytest.mark.parametrize("rows", [1, 13, 200])
def test_rest_is_the_cell_without_any_other_compartment(field, nuclei, rows):
    cells = field[1]
    er = np.roll(nuclei, 9, axis=1)
    given = {"nucleus": image(nuclei), "cytoplasm": "rest", "er": image(er)}
    matched = match_compartments(image(cells), given, rows=rows)
    assert list(matched) == ["nucleus", "cytoplasm", "er"]
    expected = np.where((nuclei == 0) & (er == 0), cells, 0)
    np.testing.assert_array_equal(numbers(matched["cytoplasm"]), expected)
    np.testing.assert_array_equal(matched["cytoplasm"].counts, np.isin(np.arange(1, 41), expected))
    assert matched["cytoplasm"].n_unmatched == 0
    np.testing.assert_array_equal(cells, field[1])
    covered = cells.copy()
    covered[cells == 4] = 0
    full = match_compartments(image(cells), {"a": image(np.where(cells == 4, 9, 0)), "b": "rest"})
    assert full["b"].counts.tolist() == [1, 1, 1, 0] + [1] * 36


def test_half_is_enough_and_the_smaller_cell_wins_a_tie():
    cells = np.zeros((4, 12), dtype=int)
    cells[:, 2:4], cells[:, 4:6], cells[:, 8:10] = 20, 10, 30
    objects = np.zeros_like(cells)
    objects[0, 3:5] = 1  # half in 20, half in 10
    objects[1, 1:3] = 2  # half in 20, half in the background
    objects[2, 5:8] = 3  # a third in 10
    objects[3, 10:] = 4  # outside
    objects[3, 8:10] = 5  # inside
    found = match_compartments(image(cells), {"x": image(objects)})["x"]
    assert found.owner.tolist() == [0, 1, -1, -1, 2]
    assert found.counts.tolist() == [1, 1, 1]
    # a compartment ends where its cell ends
    assert np.argwhere(numbers(found)).tolist() == [[0, 4], [1, 2], [3, 8], [3, 9]]


def test_pixels_of_a_binary_mask_belong_to_the_cell_below(field):
    cells = field[1]
    mask = np.zeros_like(cells, dtype=np.uint8)
    mask[:, 30:150] = 255
    mask[:, 155:160] = 255
    found = match_compartments(image(cells), {"er": image(mask)})["er"]
    np.testing.assert_array_equal(numbers(found), np.where(mask > 0, cells, 0))
    band = np.where(np.arange(260) < 152, 1, 2) * (mask > 0)
    counts = [len(np.unique(band[(cells == cell) & (mask > 0)])) for cell in range(1, 41)]
    assert found.counts.tolist() == counts
    assert set(counts) == {0, 1, 2}
    assert found.n_unmatched == 0


@pytest.mark.parametrize("value", [True, 1, 255])
def test_a_mask_of_one_piece_is_a_mask_too(field, value):
    cells = field[1]
    mask = np.zeros(cells.shape, dtype=np.asarray(value).dtype)
    mask[50:120] = value
    found = match_compartments(image(cells), {"er": image(mask)})["er"]
    np.testing.assert_array_equal(numbers(found), np.where(mask > 0, cells, 0))
    assert 1 < found.counts.sum() == len(np.unique(cells[50:120])) - 1


def test_cells_that_were_filtered_out_own_nothing(field, nuclei):
    cells = image(field[1])
    keep = cells.area > np.median(cells.area)
    some = match_compartments(cells.select(keep), {"nucleus": image(nuclei)})["nucleus"]
    position = np.cumsum(keep) - 1
    before = match_compartments(cells, {"nucleus": image(nuclei)})["nucleus"].owner
    expected = np.where((before >= 0) & keep[before], position[before], -1)
    np.testing.assert_array_equal(some.owner, expected)


def test_no_objects_and_no_cells(field):
    empty = image(np.zeros((200, 260), dtype=int))
    found = match_compartments(image(field[1]), {"nucleus": empty, "rest": "rest"})
    assert found["nucleus"].counts.tolist() == [0] * 40
    assert not numbers(found["nucleus"]).any()
    np.testing.assert_array_equal(numbers(found["rest"]), field[1])
    assert match_compartments(empty, {"nucleus": image(field[1])})["nucleus"].n_unmatched == 40


@pytest.mark.parametrize(
    ("compartments", "has_labels", "error", "match"),
    [
        ([1, 2], True, TypeError, "must be a dict of names and label images, found list"),
        ({1: 2}, True, TypeError, "must be a dict"),
        ({"nucleus": 1}, False, ValueError, "need `labels`"),
        ({}, True, ValueError, r"needs names without a slash, .* found \[\]"),
        ({"a/b": 1}, True, ValueError, r"found \['a/b'\]"),
        ({"a": "rest"}, True, ValueError, r"give one beside others, not as \['a'\]"),
        ({"n": 1, "a": "rest", "b": "rest"}, True, ValueError, r"not as \['a', 'b'\]"),
    ],
)
def test_bad_compartments(compartments, has_labels, error, match):
    with pytest.raises(error, match=match):
        check_compartments(compartments, has_labels=has_labels)
    assert check_compartments(None, has_labels=False) == {}
