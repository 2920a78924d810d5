"""Parts of cells that were segmented on their own, such as nuclei, and the cell that each belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import _label_runs as runs
from ._labels import MASK_VALUES, LabelTable
from ._strips import strip_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from saescape._typing import IntArray

    from ._labels import LabelImage

# stands for "the cell without all other compartments"
REST = "rest"
# rows that are compared at once
_PAIR_ROWS = 64


@dataclass(frozen=True, eq=False)
class Compartment:
    """Objects inside cells.

    `owner`: for each object the cell that it belongs to (from 0), or -1; None for a binary mask, of which every pixel
    belongs to the cell it lies in. `counts`: objects of each cell.
    """

    cells: LabelImage
    labels: LabelImage
    owner: IntArray | None
    counts: IntArray

    @property
    def n_unmatched(self) -> int:
        """Objects that belong to no cell."""
        return 0 if self.owner is None else int((self.owner < 0).sum())

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Number of the cell (from 1, int32) at pixels of its objects that lie inside it; 0 elsewhere."""
        cells, objects = self.cells.read(y0, y1, x0, x1), self.labels.read(y0, y1, x0, x1)
        if self.owner is None:
            return np.where(objects > 0, cells, 0).astype(np.int32, copy=False)
        owner = np.concatenate([[0], self.owner + 1]).astype(np.int32)[objects]
        owner[owner != cells] = 0
        return owner

    def close(self) -> None:
        """Free what was read from files."""
        self.cells.close()
        self.labels.close()


@dataclass(frozen=True, eq=False)
class Remainder:
    """What remains of the cells without any object of other compartments. `counts`: 1 where something remains."""

    cells: LabelImage
    others: tuple[LabelImage, ...]
    counts: IntArray

    n_unmatched = 0

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Number of the cell (from 1, int32) at pixels that no other compartment covers; 0 elsewhere."""
        rest = np.array(self.cells.read(y0, y1, x0, x1))
        for other in self.others:
            rest[other.read(y0, y1, x0, x1) > 0] = 0
        return rest

    def close(self) -> None:
        """Free what was read from files."""
        for labels in (self.cells, *self.others):
            labels.close()


def match_compartments(
    cells: LabelImage, compartments: Mapping[str, LabelImage | str], *, rows: int | None = None
) -> dict[str, Compartment | Remainder]:
    """Find the cell of every object of every compartment, by overlap.

    An object belongs to the cell with which it shares most pixels (as in CellProfiler's RelateObjects), when that is at
    least half of the object; of two cells with a half each, the one with the smaller id. Other objects belong to no
    cell: less than half of them would be measured, since a compartment ends where its cell ends. A cell may own
    several objects. A binary mask has no objects that would belong to one cell: its pixels belong to the cell they lie
    in, and each of its connected components counts in every cell that it reaches.

    Parameters
    ----------
    cells
        Cells of a field.
    compartments
        Label images of the same field, or `"rest"`: what no other compartment covers.
    rows
        Rows that are read at once; None for as many as fit into 32 MiB.
    """
    images = {name: found for name, found in compartments.items() if not isinstance(found, str)}
    height, width = cells.shape
    n_cells = len(cells)
    tables = {name: LabelTable() for name in images}
    rest_area = np.zeros(n_cells + 1, dtype=np.int64)
    rows = rows or strip_rows(cells.source.array())
    for start in range(0, height, rows):
        window = (start, min(start + rows, height), 0, width)
        of_cell, objects = cells.read(*window), {name: image.read(*window) for name, image in images.items()}
        for first in range(0, len(of_cell), _PAIR_ROWS):
            part = slice(first, first + _PAIR_ROWS)
            free = np.ones(of_cell[part].shape, dtype=bool)
            for name, of_object in objects.items():
                # both numbers in one; 0 where there is no object
                pairs = of_object[part].astype(np.int64) * (n_cells + 1)
                pairs += np.where(of_object[part] > 0, of_cell[part], 0)
                tables[name].add(pairs, start + first)
                free &= of_object[part] == 0
            if len(images) < len(compartments):
                rest_area += np.bincount(of_cell[part][free], minlength=n_cells + 1)
    matched: dict[str, Compartment | Remainder] = {}
    for name in compartments:
        if name in images:
            found = tables[name].rows()
            pair, overlap = np.divmod(found[:, runs.LABEL], n_cells + 1), found[:, runs.AREA]
            matched[name] = _matched(cells, images[name], *pair, overlap)
        else:
            counts = (rest_area[1:] > 0).astype(np.int64)
            matched[name] = Remainder(cells, tuple(images.values()), counts)
    return matched


def _matched(cells: LabelImage, image: LabelImage, objects: IntArray, cell: IntArray, overlap: IntArray) -> Compartment:
    """`overlap`: pixels that the objects (from 1) share with the cells (from 1; 0 is the background)."""
    objects, cell, overlap = objects[cell > 0], cell[cell > 0], overlap[cell > 0]
    if _is_mask(image):
        return Compartment(cells, image, None, np.bincount(cell - 1, minlength=len(cells)))
    enough = 2 * overlap >= image.area[objects - 1]
    owner = np.full(len(image), -1, dtype=np.int64)
    # of two halves the smaller cell, which comes last here
    owner[objects[enough][::-1] - 1] = cell[enough][::-1] - 1
    return Compartment(cells, image, owner, np.bincount(owner[owner >= 0], minlength=len(cells)))


def _is_mask(image: LabelImage) -> bool:
    """Whether no values but 0 and 1 (or 255) occur, be it in one piece or in several."""
    return image.was_binary or (len(image) == 1 and int(image.ids[0]) in MASK_VALUES)
