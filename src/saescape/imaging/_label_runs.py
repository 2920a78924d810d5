"""Passes over label images, run by run: a run is a stretch of one label in a row.

Labels may be any positive integers. What is known of each is kept in a table that grows, found by a hash of the label.
"""

from __future__ import annotations

import numba
import numpy as np

# columns of the table; EULER is the number of pieces less that of holes
LABEL, AREA, SUM_Y, SUM_X, EULER, TOP, LEFT, BOTTOM, RIGHT = range(9)
_N_COLUMNS = 9
_FIRST_SLOTS = 1024


def empty_table() -> tuple[np.ndarray, np.ndarray]:
    """Slots of the hash (row of the table, or -1) and an empty table."""
    return np.full(_FIRST_SLOTS, -1, dtype=np.int64), np.empty((_FIRST_SLOTS // 2, _N_COLUMNS), dtype=np.int64)


@numba.njit(cache=True, nogil=True)
def _slot(slots: np.ndarray, table: np.ndarray, label: int) -> int:
    """Slot of a label, or the free one where it belongs."""
    mask = len(slots) - 1
    # Fibonacci hashing spreads labels that follow each other
    at = ((label * 0x9E3779B97F4A7C1) >> 20) & mask
    while slots[at] >= 0 and table[slots[at], LABEL] != label:
        at = (at + 1) & mask
    return at


@numba.njit(cache=True, nogil=True)
def _grown(slots: np.ndarray, table: np.ndarray, n_found: int, n_more: int) -> tuple[np.ndarray, np.ndarray]:
    """Slots and table with place for `n_more` labels, at most half full."""
    size = len(slots)
    while size < 2 * (n_found + n_more):
        size *= 2
    new_slots, new_table = np.full(size, -1, dtype=np.int64), np.empty((size // 2, _N_COLUMNS), dtype=np.int64)
    new_table[:n_found] = table[:n_found]
    for row in range(n_found):
        new_slots[_slot(new_slots, new_table, new_table[row, LABEL])] = row
    return new_slots, new_table


@numba.njit(cache=True, nogil=True)
def _n_touching(label: int, above: np.ndarray, start: int, stop: int) -> int:
    """Runs of the label in the row above that touch the run from `start` to `stop`, corners included."""
    n_runs, inside = 0, False
    for col in range(max(start - 1, 0), min(stop + 1, len(above))):
        same = above[col] == label
        if same and not inside:
            n_runs += 1
        inside = same
    return n_runs


@numba.njit(cache=True, nogil=True)
def add_strip(
    strip: np.ndarray, above: np.ndarray, first_row: int, slots: np.ndarray, table: np.ndarray, n_found: int
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Add the labels above 0 of a (h, X) strip to the table; also returns how many pixels are negative.

    `above` is the row before the strip. The runs of a label are the nodes of a graph and touch along its edges; nodes
    less edges are its pieces less the cycles, which are its holes.
    """
    height, width = strip.shape
    n_negative = 0
    for row in range(height):
        if 2 * (n_found + width) > len(slots):
            slots, table = _grown(slots, table, n_found, width)
        y = first_row + row
        before = strip[row - 1] if row > 0 else above
        start = 0
        while start < width:
            label = strip[row, start]
            stop = start + 1
            while stop < width and strip[row, stop] == label:
                stop += 1
            length = stop - start
            if label > 0:
                at = _slot(slots, table, label)
                entry = slots[at]
                if entry < 0:
                    entry = n_found
                    n_found += 1
                    slots[at] = entry
                    table[entry, LABEL] = label
                    table[entry, AREA : EULER + 1] = 0
                    table[entry, TOP], table[entry, LEFT] = y, start
                    table[entry, RIGHT] = stop
                table[entry, AREA] += length
                table[entry, SUM_Y] += y * length
                table[entry, SUM_X] += (start + stop - 1) * length // 2
                table[entry, EULER] += 1 - _n_touching(label, before, start, stop)
                table[entry, LEFT] = min(table[entry, LEFT], start)
                table[entry, BOTTOM] = y + 1
                table[entry, RIGHT] = max(table[entry, RIGHT], stop)
            elif label < 0:
                n_negative += length
            start = stop
    return slots, table, n_found, n_negative


@numba.njit(cache=True, nogil=True)
def renumber(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Position + 1 of each label in the increasing `ids`; 0 for labels that are not there."""
    height, width = labels.shape
    numbers = np.empty((height, width), dtype=np.int32)
    for row in range(height):
        last, number = 0, 0
        for col in range(width):
            label = labels[row, col]
            if label != last:
                last, number = label, 0
                if label > 0:
                    at = np.searchsorted(ids, label)
                    if at < len(ids) and ids[at] == label:
                        number = at + 1
            numbers[row, col] = number
    return numbers
