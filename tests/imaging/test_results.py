"""Results gathered in memory and on disk."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from saescape.imaging._measure import Measures
from saescape.imaging._results import MemoryResults, StoredResults
from saescape.imaging._tasks import Piece, Task

N_OBS = 50


def make_task(number, rows):
    return Task(number, (Piece(0, rows, rows, (0, 0, 1, 1)),))


@pytest.fixture
def work():
    """Three tasks whose rows are mixed, and what is measured on them."""
    rng = np.random.default_rng(0)
    rows = np.split(rng.permutation(N_OBS), [20, 33])
    tasks = [make_task(i, np.sort(part)) for i, part in enumerate(rows)]
    truth = {
        "values": rng.normal(size=(N_OBS, 3)).astype(np.float32),
        "quality": rng.random((N_OBS, 2, 5)),
        "tokens": rng.normal(size=(N_OBS, 4, 3)).astype(np.float32),
    }
    measured = [
        Measures(t.rows, truth["values"][t.rows], truth["quality"][t.rows], (2, 2), truth["tokens"][t.rows])
        for t in tasks
    ]
    return tasks, measured, truth


@pytest.mark.parametrize("stored", [False, True])
def test_rows_come_back_in_order(work, stored, tmp_path):
    tasks, measured, truth = work
    results = StoredResults(tmp_path / "run", {"a": 1}, N_OBS, 3) if stored else MemoryResults(N_OBS)
    assert results.missing(tasks) == tasks
    for i in (2, 0, 1):
        results.add(tasks[i], measured[i])
    found = results.finish()
    np.testing.assert_array_equal(found.values, truth["values"])
    np.testing.assert_array_equal(found.quality, truth["quality"])
    np.testing.assert_array_equal(np.asarray(found.tokens), truth["tokens"])
    assert found.grid == (2, 2)
    assert isinstance(found.tokens, da.Array) == stored


def test_a_store_goes_on_where_it_stopped(work, tmp_path):
    tasks, measured, truth = work
    first = StoredResults(tmp_path / "run", {"a": 1}, N_OBS, 3)
    first.add(tasks[1], measured[1])
    again = StoredResults(tmp_path / "run", {"a": 1}, N_OBS, 3)
    assert again.missing(tasks) == [tasks[0], tasks[2]]
    for i in (0, 2):
        again.add(tasks[i], measured[i])
    np.testing.assert_array_equal(again.finish().values, truth["values"])


def test_a_store_of_another_call_is_refused(work, tmp_path):
    tasks, measured, _ = work
    path = tmp_path / "run"
    StoredResults(path, {"bounds": [1.0, 2.0], "encoder": "x"}, N_OBS, 3).add(tasks[0], measured[0])
    with pytest.raises(ValueError, match="belongs to another call: `encoder` differ"):
        StoredResults(path, {"bounds": [1.0, 2.0], "encoder": "y"}, N_OBS, 3)
    with pytest.raises(ValueError, match="`bounds`, `encoder` differ"):
        StoredResults(path, {}, N_OBS, 3)


def test_other_folders_are_refused(tmp_path):
    import zarr

    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is no zarr group"):
        StoredResults(tmp_path, {}, N_OBS, 3)
    with pytest.raises(ValueError, match="is no zarr group"):
        StoredResults(tmp_path / "notes.txt", {}, N_OBS, 3)
    zarr.open_group(tmp_path / "other", mode="w").attrs["kind"] = "else"
    with pytest.raises(ValueError, match=r"was not written by `sae\.pp\.image_to_adata`"):
        StoredResults(tmp_path / "other", {}, N_OBS, 3)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_maps_must_keep_their_size(work):
    tasks, measured, _ = work
    results = MemoryResults(N_OBS)
    results.add(tasks[0], measured[0])
    other = Measures(tasks[1].rows, measured[1].values, measured[1].quality, (1, 2), measured[1].tokens[:, :2])
    with pytest.raises(ValueError, match="needs maps of one size"):
        results.add(tasks[1], other)
    with pytest.raises(ValueError, match=r"returned \(2,\) after \(3,\)"):
        results.add(tasks[1], Measures(tasks[1].rows, measured[1].values[:, :2], measured[1].quality))
