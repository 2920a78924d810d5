"""How the work is cut up."""

from __future__ import annotations

import numpy as np
import pytest

from saescape.imaging._regions import tile_regions
from saescape.imaging._tasks import MARGIN, plan_tasks

SHAPES = [(1, 300, 500), (1, 90, 90), (1, 64, 64)]


@pytest.fixture(scope="module")
def regions():
    return [tile_regions(shape[1:], 40, 25, "`image`", edge="pad") for shape in SHAPES]


@pytest.mark.parametrize("block", [64, 128, 4096])
@pytest.mark.parametrize("crops", [False, True])
def test_every_observation_is_in_one_piece_that_holds_its_pixels(regions, block, crops):
    tasks = plan_tasks(regions, SHAPES, block, crops=crops)
    assert [task.number for task in tasks] == list(range(len(tasks)))
    rows = np.concatenate([task.rows for task in tasks])
    assert np.array_equal(np.sort(rows), np.arange(sum(map(len, regions))))
    first = np.cumsum([0, *map(len, regions)])
    for piece in (piece for task in tasks for piece in task.pieces):
        found, (_, height, width) = regions[piece.field], SHAPES[piece.field]
        assert np.array_equal(piece.rows, first[piece.field] + piece.members)
        y0, x0, y1, x1 = piece.extent
        boxes = found.boxes[piece.members]
        # with one more pixel on each side, where the image goes on
        assert (y0 <= np.maximum(boxes[:, 0] - MARGIN, 0)).all()
        assert (x1 >= np.minimum(boxes[:, 3] + MARGIN, width)).all()
        assert 0 <= y0 < y1 <= height
        assert 0 <= x0 < x1 <= width
        # no more than the block and what reaches over it
        assert y1 - y0 <= block + 2 * (40 + MARGIN)


def test_small_fields_are_done_together(regions):
    assert len(plan_tasks(regions, SHAPES, 4096, crops=False)) == 1
    assert len(plan_tasks(regions, SHAPES, 64, crops=False)) > 20
    assert plan_tasks([], [], 64, crops=False) == []
