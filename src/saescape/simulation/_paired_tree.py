"""Cells of simulated types: the branches of a differentiation tree in program space."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import BoolArray, FloatArray, IntArray

_PROGRAM_NOISE = 0.2


class Cells(NamedTuple):
    """Type, position along its branch and program activities `(n, n_programs)` of each cell."""

    cell_type: IntArray
    gradient: FloatArray
    programs: FloatArray

    def take(self, index: IntArray | slice) -> Cells:
        """The cells at `index`."""
        return Cells(self.cell_type[index], self.gradient[index], self.programs[index])

    def replace(self, at: IntArray, others: Cells) -> Cells:
        """A copy with `others` in the places `at`."""
        copy = self.take(np.arange(len(self.cell_type)))
        for mine, new in zip(copy, others, strict=True):
            mine[at] = new
        return copy


class Tree:
    """Cell types as branches of a tree: where each starts in program space and how it goes on."""

    def __init__(self, n_types: int, n_programs: int, *, mirror: bool, rng: np.random.Generator) -> None:
        self.mirror = mirror
        self.change = _branches(n_types, n_programs, rng)
        self.frequency = 0.75 ** np.arange(n_types)
        # what all cells have in common
        self.root = (rng.random(n_programs) < 0.4) * rng.gamma(3.0, 1 / 3, n_programs)
        # two branches leave the root, the others the end of an earlier one
        parent = np.array([-1 if c < 2 else int(rng.integers(c)) for c in range(n_types)])
        if mirror:
            # each odd type is its even partner with the two halves of the programs exchanged
            half = n_programs // 2
            self.change[1::2] = np.concatenate([self.change[::2, half:], self.change[::2, :half]], 1)
            self.frequency[1::2] = self.frequency[::2]
            self.root[half:] = self.root[:half]
            parent[2::2] = parent[2::2] // 2 * 2
            parent[3::2] = parent[2::2] + 1
        self.frequency = self.frequency / self.frequency.sum()
        self.start = np.tile(self.root, (n_types, 1))
        for c in range(2, n_types):
            self.start[c] = self.start[parent[c]] + self.change[parent[c]]

    def cells(self, n: int, rng: np.random.Generator) -> Cells:
        """`n` cells of types drawn by their frequencies."""
        return self.cells_of(rng.choice(len(self.frequency), n, p=self.frequency), rng)

    def cells_of(self, cell_type: IntArray, rng: np.random.Generator) -> Cells:
        """A cell of each type in `cell_type`."""
        position = rng.random(len(cell_type))
        mean = self.start[cell_type] + position[:, None] * self.change[cell_type]
        return Cells(cell_type, position, _noisy(mean, rng))

    def rebalanced(self, cells: Cells, imbalance: float, rng: np.random.Generator) -> tuple[Cells, BoolArray]:
        """Cells whose types have frequencies reversed by `imbalance`, and which of them are new.

        A maximal coupling: as few cells as possible are exchanged for new ones.
        """
        target = (1 - imbalance) * self.frequency + imbalance * self.frequency[::-1]
        keep = np.minimum(1.0, target / self.frequency)
        new = rng.random(len(cells.cell_type)) >= keep[cells.cell_type]
        at = np.flatnonzero(new)
        if len(at):
            lacking = np.maximum(target - self.frequency, 0.0)
            types = rng.choice(len(lacking), len(at), p=lacking / lacking.sum())
            cells = cells.replace(at, self.cells_of(types, rng))
        return cells, new

    def outsiders(self, n: int, rng: np.random.Generator) -> Cells:
        """`n` cells of one more type, whose branch starts one branch away from the root."""
        change = _branches(1, len(self.root), rng)[0]
        if self.mirror:
            # its own mirror image
            change[len(change) // 2 :] = change[: len(change) // 2]
        position = rng.random(n)
        mean = self.root + (1 + position[:, None]) * change
        return Cells(np.full(n, len(self.frequency)), position, _noisy(mean, rng))


def _branches(n: int, n_programs: int, rng: np.random.Generator) -> FloatArray:
    on = rng.random((n, n_programs)) < 0.25
    # each type changes something, and no two branches are equally long
    on[np.arange(n), rng.integers(n_programs, size=n)] = True
    change: FloatArray = on * rng.gamma(3.0, 1 / 3, on.shape) * rng.uniform(0.6, 1.6, (n, 1))
    return change


def _noisy(mean: FloatArray, rng: np.random.Generator) -> FloatArray:
    noisy: FloatArray = mean * rng.lognormal(0, _PROGRAM_NOISE, mean.shape)
    return noisy
