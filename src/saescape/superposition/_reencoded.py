"""The null that knows how codes are made: permuted features are decoded, and coded again by the same rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ._interference import crowding_sum, overlaps, scale_codes
from ._nulls import compare, permute_within_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from saescape._typing import FloatArray, IntArray

    from ._nulls import NullResult

# multiplications that all draws together may take; about ten seconds of one core
_WORK = 1.5e11
# what is given up last, in this order: draws, cells, positions
_FEW_DRAWS, _FEW_CELLS, _FEW_POSITIONS = 20, 200, 8


@dataclass(frozen=True)
class Recoder:
    """A fitted model as functions of arrays.

    Parameters
    ----------
    encode
        Rows `(n, d)` to codes `(n, m)`, each row by itself.
    decoder
        Rows of the dictionary `(m, d)`, in units of the codes.
    bias
        What is added to decoded codes `(d,)`.
    work_per_row
        Multiplications that coding a row takes, about.
    """

    encode: Callable[[FloatArray], sparse.csr_matrix]
    decoder: FloatArray
    bias: FloatArray
    work_per_row: float

    def plan(self, n_cells: int, n_positions: int, n_perms: int) -> tuple[int, int, int]:
        """Cells, positions of each and draws that the budget allows."""
        draws = min(n_perms, _FEW_DRAWS)
        rows = max(1, int(_WORK / (self.work_per_row * draws)))
        cells = min(n_cells, max(_FEW_CELLS, rows // n_positions))
        positions = min(n_positions, max(_FEW_POSITIONS, rows // cells))
        affordable = int(_WORK / (self.work_per_row * cells * positions))
        return cells, positions, max(draws, min(n_perms, affordable))


@dataclass(frozen=True)
class Recoding:
    """The sample that is coded again.

    Parameters
    ----------
    recoder
        Of the model that made the codes.
    rows
        What it coded `(n_cells, n_positions, n_dims)`.
    cells
        Numbers of these cells.
    n_draws
        How often.
    """

    recoder: Recoder
    rows: FloatArray
    cells: IntArray
    n_draws: int


def move_features(
    codes: sparse.csr_matrix, n_positions: int, block_of: IntArray, rng: np.random.Generator
) -> sparse.csr_matrix:
    """Permute each feature over the cells of a block; the activations at all positions of a cell move together.

    Parameters
    ----------
    codes
        Codes of positions `(n_cells * n_positions, n_features)`, those of a cell in succession.
    block_of
        Number of the block of each cell, from 0.
    """
    entries = codes.tocoo()
    n_cells, m = codes.shape[0] // n_positions, codes.shape[1]
    cell, position = np.divmod(entries.row.astype(np.int64), n_positions)
    # a feature in a cell is one entry whose value is its number: where the number lands, its activations go
    held, number = np.unique(cell * m + entries.col, return_inverse=True)
    table = sparse.csr_matrix((np.arange(len(held)) + 1.0, np.divmod(held, m)), shape=(n_cells, m))
    moved = permute_within_blocks(table, block_of, rng).tocoo()
    target = np.empty(len(held), dtype=np.int64)
    target[moved.data.astype(np.int64) - 1] = moved.row
    return sparse.csr_matrix((entries.data, (target[number] * n_positions + position, entries.col)), shape=codes.shape)


def pool_positions(codes: sparse.csr_matrix, n_positions: int) -> sparse.csr_matrix:
    """Mean of the codes over the positions of each cell."""
    n_rows = codes.shape[0]
    ends = np.arange(0, n_rows + 1, n_positions)
    shares = (np.full(n_rows, 1 / n_positions), np.arange(n_rows), ends)
    return sparse.csr_matrix(sparse.csr_matrix(shares, shape=(n_rows // n_positions, n_rows)) @ codes)


def reencoded_null(given: Recoding, block_of: IntArray, *, score: float, rng: np.random.Generator) -> NullResult:
    """Score when features fire independently of each other but are coded as they were.

    Codes depend on geometry whatever fires: matching pursuit explains a direction by one of two similar features, a
    linear encoder answers with both. Permuted codes know nothing of that, codes of permuted features do. As in
    `usage_null` crowding is held; draws are relative to the score of the sample, so that they stand beside `score`.

    Parameters
    ----------
    block_of
        Number of the block of each cell of the sample, from 0.
    """
    recoder, (n_cells, n_positions, n_dims) = given.recoder, given.rows.shape
    codes = recoder.encode(given.rows.reshape(-1, n_dims))
    residual = given.rows - np.asarray(codes @ recoder.decoder + recoder.bias).reshape(given.rows.shape)
    members = [np.flatnonzero(block_of == block) for block in np.unique(block_of)]
    unit = scale_codes(codes[:0], recoder.decoder)[1]

    def measured(of_positions: sparse.csr_matrix) -> sparse.csr_matrix:
        return scale_codes(pool_positions(of_positions, n_positions), recoder.decoder)[0]

    def draw() -> sparse.csr_matrix:
        made = np.asarray(move_features(codes, n_positions, block_of, rng) @ recoder.decoder + recoder.bias)
        other = np.empty(n_cells, dtype=np.int64)
        for block in members:
            other[block] = rng.permutation(block)
        return measured(recoder.encode((made + residual[other].reshape(-1, n_dims)).astype(np.float32)))

    sample = measured(codes)
    observed = float(overlaps([sample], unit)[0])
    drawn = overlaps((draw() for _ in range(given.n_draws)), unit)
    energy = float(sample.data @ sample.data)
    # without overlap in the sample there is no ratio to keep
    in_units = score / observed if observed > 0 else crowding_sum(sample) / max(energy, np.finfo(np.float64).tiny)
    return compare(in_units * observed, in_units * drawn)
