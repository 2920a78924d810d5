"""The work on all fields, cut into tasks that can be done anywhere and in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import IntArray

    from ._regions import Regions

DEFAULT_BLOCK = 2048
# the Laplacian of quality looks at the next pixel; nothing else looks beyond its object or crop
MARGIN = 1
# small fields are done together, up to so many
_MAX_PIECES = 64


@dataclass(frozen=True)
class Piece:
    """Observations of one field whose centres lie in one of its blocks.

    `members` are their positions in the field, `rows` those in the result; `extent` (y0, x0, y1, x1) holds all pixels
    that are needed.
    """

    field: int
    members: IntArray
    rows: IntArray
    extent: tuple[int, int, int, int]


@dataclass(frozen=True)
class Task:
    """Pieces that are done one after the other."""

    number: int
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> IntArray:
        return np.concatenate([piece.rows for piece in self.pieces])

    @property
    def fields(self) -> list[int]:
        return sorted({piece.field for piece in self.pieces})


def plan_tasks(regions: list[Regions], shapes: list[tuple[int, int, int]], block: int, *, crops: bool) -> list[Task]:
    """Cut all fields into blocks of `block` x `block` pixels; every observation belongs to the block of its centre.

    With `crops` the windows around labels are needed too.
    """
    tasks: list[Task] = []
    waiting: list[Piece] = []
    n_pixels = 0
    for piece in _pieces(regions, shapes, block, crops=crops):
        y0, x0, y1, x1 = piece.extent
        size = (y1 - y0) * (x1 - x0)
        if waiting and (n_pixels + size > block**2 or len(waiting) == _MAX_PIECES):
            tasks.append(Task(len(tasks), tuple(waiting)))
            waiting, n_pixels = [], 0
        waiting.append(piece)
        n_pixels += size
    if waiting:
        tasks.append(Task(len(tasks), tuple(waiting)))
    return tasks


def _pieces(regions: list[Regions], shapes: list[tuple[int, int, int]], block: int, *, crops: bool) -> Iterator[Piece]:
    first_row = 0
    for field, (found, (_, height, width)) in enumerate(zip(regions, shapes, strict=True)):
        if len(found) == 0:
            continue
        boxes = found.boxes
        windows = found.crop_boxes()
        # the centre of a padded tile may lie outside
        row, col = np.minimum(found.row, height - 1), np.minimum(found.col, width - 1)
        owner = row // block * -(-width // block) + col // block
        for one in np.unique(owner):
            members = np.flatnonzero(owner == one)
            needed = np.concatenate([boxes[members], windows[members]]) if crops else boxes[members]
            y0, x0 = np.maximum(needed[:, :2].min(0) - MARGIN, 0).tolist()
            y1, x1 = np.minimum(needed[:, 2:].max(0) + MARGIN, (height, width)).tolist()
            yield Piece(field, members, first_row + members, (y0, x0, y1, x1))
        first_row += len(found)
