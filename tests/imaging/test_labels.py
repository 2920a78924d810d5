from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pytest
from skimage.measure import label, regionprops_table

from saescape.imaging._labels import check_labels

SHAPE = (6, 8)


class Recorder:
    """A lazy (Y, X) array that knows how much was asked of it at once."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.sizes = array, array.shape, array.dtype, []

    def __getitem__(self, key):
        part = self.array[key]
        self.sizes.append(part.size)
        return part


def everything(found):
    return found.read(0, found.shape[0], 0, found.shape[1])


def given(found):
    """The labels as they were given."""
    return np.concatenate([[0], found.ids])[everything(found)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_every_integer_type(field, dtype):
    labels = field[1].astype(dtype)
    found = check_labels(labels, labels.shape, "`labels`")
    assert everything(found).dtype == np.int32
    np.testing.assert_array_equal(given(found), labels)


@pytest.mark.parametrize("big", [9, 70_000, 2**31, 2**62])
def test_scattered_ids_are_kept(big):
    labels = np.zeros(SHAPE, dtype=np.int64)
    labels[0, 0], labels[3:5, 2:4] = 3, big
    found = check_labels(labels, SHAPE, "`labels`")
    assert found.ids.tolist() == [3, big]
    np.testing.assert_array_equal(given(found), labels)


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
@pytest.mark.parametrize("scattered", [False, True])
def test_sums_over_strips_equal_regionprops(field, rows, scattered):
    labels = field[1]
    if scattered:
        ids = np.sort(np.random.default_rng(0).choice(10**12, 41, replace=False))
        labels = np.where(labels > 0, ids[labels], 0)
    found = check_labels(Recorder(labels), labels.shape, "`labels`", rows=rows)
    table = regionprops_table(field[1], properties=("area", "bbox", "centroid", "euler_number"))
    assert found.ids.tolist() == np.unique(labels)[1:].tolist()
    np.testing.assert_array_equal(found.area, table["area"])
    np.testing.assert_array_equal(found.euler, table["euler_number"])
    np.testing.assert_array_equal(found.boxes, np.stack([table[f"bbox-{i}"] for i in range(4)], axis=1))
    np.testing.assert_allclose(found.centroids, np.stack([table["centroid-1"], table["centroid-0"]], axis=1))


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_pieces_and_holes(rows):
    labels = np.random.default_rng(0).integers(0, 4, (40, 50))
    found = check_labels(labels, labels.shape, "`labels`", rows=rows)
    table = regionprops_table(labels, properties=("euler_number",))
    np.testing.assert_array_equal(found.euler, table["euler_number"])
    apart = np.zeros((9, 30), dtype=int)
    apart[1:3, 1:4], apart[5:7, 20:25], apart[2, 10] = 5, 5, 8
    assert check_labels(apart, apart.shape, "`labels`", rows=rows).euler.tolist() == [2, 1]


def test_many_labels_in_a_row_make_the_table_grow():
    labels = np.random.default_rng(0).integers(-0, 2**40, (9, 3000))
    found = check_labels(labels, labels.shape, "`labels`", rows=2)
    ids, area = np.unique(labels, return_counts=True)
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_array_equal(found.area, area)
    np.testing.assert_array_equal(everything(found), np.searchsorted(ids, labels) + 1)


def test_lazy_labels_are_never_held_whole(field):
    labels = np.tile(field[1], (4, 1))
    recorder = Recorder(labels)
    found = check_labels(recorder, labels.shape, "`labels`", rows=50)
    assert sum(recorder.sizes) == labels.size
    assert max(recorder.sizes) == 50 * 260
    np.testing.assert_array_equal(found.read(300, 330, 20, 90), labels[300:330, 20:90])
    assert recorder.sizes[-1] == 30 * 70


@pytest.mark.parametrize("chunks", [(64, 64), (13, 260), (200, 260)])
def test_chunks_of_dask_change_nothing(field, chunks):
    labels = field[1]
    lazy = check_labels(da.from_array(labels, chunks=chunks), labels.shape, "`labels`")
    direct = check_labels(labels, labels.shape, "`labels`")
    for attribute in ("ids", "area", "boxes", "centroids", "euler"):
        np.testing.assert_array_equal(getattr(lazy, attribute), getattr(direct, attribute))
    np.testing.assert_array_equal(everything(lazy), labels)


def test_labels_in_memory_are_used_as_they_are(field):
    found = check_labels(field[1], field[1].shape, "`labels`")
    assert np.shares_memory(found.read(10, 90, 20, 80), field[1])


def test_selected_labels(field):
    labels = field[1]
    found = check_labels(labels, labels.shape, "`labels`")
    keep = found.ids % 3 == 0
    some = found.select(keep)
    assert some.ids.tolist() == list(range(3, 41, 3))
    np.testing.assert_array_equal(given(some), np.where(labels % 3 == 0, labels, 0))
    np.testing.assert_array_equal(some.area, found.area[keep])
    # the last ones removed: what is left is consecutive, but the pixels are not
    first = found.select(found.ids <= 5)
    np.testing.assert_array_equal(everything(first), np.where(labels <= 5, labels, 0))


@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize("wrap", [np.asarray, da.from_array, Recorder])
def test_binary_mask_becomes_components(field, value, wrap):
    mask = (field[1] > 0).astype(np.uint8) * value
    found = check_labels(wrap(mask), mask.shape, "`labels`", rows=32)
    expected = label(mask)
    assert found.was_binary
    assert found.ids.tolist() == list(range(1, expected.max() + 1))
    np.testing.assert_array_equal(everything(found), expected)
    found.close()
    np.testing.assert_array_equal(everything(pickle.loads(pickle.dumps(found))), expected)


@pytest.mark.parametrize("value", [1, 255])
def test_a_single_object_keeps_its_id(value):
    found = check_labels(np.eye(6, 8, dtype=int) * value, SHAPE, "`labels`")
    assert not found.was_binary
    assert found.ids.tolist() == [value]
    assert check_labels(np.eye(6, 8, dtype=bool), SHAPE, "`labels`").ids.tolist() == [1]


OPENED = []


def open_again():
    OPENED.append(1)
    labels = np.zeros(SHAPE, dtype=np.uint16)
    labels[2:4, 1:5], labels[5, 5] = 7, 300
    return labels


def test_what_can_be_opened_again_is_not_pickled():
    OPENED.clear()
    found = check_labels(open_again, SHAPE, "`labels`")
    found.read(0, 3, 0, 3)
    assert len(OPENED) == 1
    sent = pickle.dumps(found)
    back = pickle.loads(sent)
    assert len(OPENED) == 1
    np.testing.assert_array_equal(given(back), open_again())
    OPENED.clear()
    found.close()
    np.testing.assert_array_equal(given(found), open_again())
    assert len(OPENED) == 2


def test_no_labels_at_all():
    found = check_labels(np.zeros(SHAPE, dtype=int), SHAPE, "`labels`")
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.centroids.shape == (0, 2)
    assert not everything(found).any()


@pytest.mark.parametrize(
    ("labels", "error", "match"),
    [
        (np.zeros((3, 3), int), ValueError, r"`labels` has shape \(3, 3\), but its image is \(6, 8\)"),
        (np.zeros((8, 6), int), ValueError, r"after transposing the labels \(`labels.T`\)"),
        (np.zeros((3, 4), int), ValueError, "2 times lower resolution"),
        (np.zeros(SHAPE), TypeError, r"float64; cast it with `labels.astype\(int\)`"),
        (np.full(SHAPE, 0.5), TypeError, "probability map"),
        (np.full(SHAPE, np.nan), TypeError, "probability map"),
        (np.full(SHAPE, -1), ValueError, "48 negative labels; background must be 0"),
        (np.full(SHAPE, "a"), TypeError, "must hold integers, found dtype <U1"),
        (np.full(SHAPE, 1, dtype=object), TypeError, "must hold integers, found dtype object"),
        (np.full(SHAPE, 2**63, dtype=np.uint64), ValueError, "labels above 9223372036854775807; number them anew"),
    ],
)
@pytest.mark.parametrize("wrap", [np.asarray, Recorder])
def test_bad_labels(labels, error, match, wrap):
    with pytest.raises(error, match=match):
        check_labels(wrap(labels), SHAPE, "`labels`", rows=2)
