"""What the score would be without an association of co-activation and geometry, in three senses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ._interference import TILE_ENTRIES, coactivation, crowding_sum, overlaps, squared_cosine_tiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import FloatArray, IntArray

    from ._interference import Interference

# pairs of active features that all draws together may visit, and what a dense pair costs relative to a sparse one
_PAIR_BUDGET = 2e8
_DENSE_COST = 0.02
_MIN_CELLS = 1_000
# relative and absolute tolerance for "as large as observed"
_RTOL, _ATOL = 1e-9, 1e-10


@dataclass(frozen=True)
class NullResult:
    """Draws of the score under one null and the place of the observed score among them."""

    values: FloatArray
    mean: float
    sd: float
    z: float
    pvalue: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for storage."""
        return {
            "mean": self.mean,
            "sd": self.sd,
            "z": self.z,
            "pvalue": self.pvalue,
            "n_perms": len(self.values),
            "values": self.values,
        }


def compare(observed: float, values: FloatArray) -> NullResult:
    """One-sided permutation p-value ``(1 + #{null >= observed}) / (1 + n_perms)`` and z-score."""
    as_large = int(np.sum(values >= observed - _RTOL * abs(observed) - _ATOL))
    mean, sd = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    z = float((observed - mean) / sd) if sd > _ATOL else float("nan")
    return NullResult(values, mean, sd, z, (1 + as_large) / (1 + len(values)))


def n_null_cells(scaled: sparse.csr_matrix, n_perms: int) -> int:
    """Cells that the draws are made on: all of them, unless that would take minutes."""
    n, m = scaled.shape
    per_row = np.diff(scaled.indptr).astype(np.float64)
    work = max(1.0, min(float(np.mean(per_row**2)), _DENSE_COST * m * m))
    return int(min(n, max(_MIN_CELLS, _PAIR_BUDGET / (n_perms * work))))


def permute_within_blocks(scaled: sparse.csr_matrix, block_of: IntArray, rng: np.random.Generator) -> sparse.csr_matrix:
    """Permute the activations of each feature over the cells of a block, each feature independently.

    Only stored entries move: a permuted sparse column is its values on distinct rows drawn at random.

    Parameters
    ----------
    scaled
        Codes `(n_cells, n_features)`.
    block_of
        Number of the block of each cell, from 0.
    """
    n, m = scaled.shape
    columns = scaled.tocsc()
    column = np.repeat(np.arange(m), np.diff(columns.indptr))
    block = block_of[columns.indices]
    sizes = np.bincount(block_of)
    members = np.argsort(block_of, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    # entries of one feature in one block are a group
    group, counts = np.unique(column * len(sizes) + block, return_inverse=True, return_counts=True)[1:]
    crowded = counts[group] > sizes[block] / 2
    row = np.empty(len(column), dtype=np.int64)
    for number in np.unique(block[crowded]):
        chosen = np.flatnonzero(crowded & (block == number))
        row[chosen] = members[offsets[number] + _shuffled_positions(group[chosen], int(sizes[number]), rng)]

    # redrawing rows that are taken treats all rows alike, so that every choice of distinct rows is equally likely
    pending = np.flatnonzero(~crowded)
    sparse_entries = pending
    while len(pending):
        position = rng.integers(0, sizes[block[pending]])
        row[pending] = members[offsets[block[pending]] + position]
        cell = column[sparse_entries] * n + row[sparse_entries]
        first = np.unique(cell, return_index=True)[1]
        taken = np.ones(len(cell), dtype=bool)
        taken[first] = False
        pending = sparse_entries[taken]
    return sparse.csr_matrix((columns.data, (row, column)), shape=(n, m))


def _shuffled_positions(group: IntArray, size: int, rng: np.random.Generator) -> IntArray:
    """Distinct positions below `size` for the entries of each group, from complete shuffles."""
    _, member, counts = np.unique(group, return_inverse=True, return_counts=True)
    order = np.argsort(member, kind="stable")
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
    positions = np.empty(len(group), dtype=np.int64)
    step = max(1, 2**22 // size)
    for low in range(0, len(counts), step):
        n_groups = min(step, len(counts) - low)
        shuffled = rng.permuted(np.tile(np.arange(size), (n_groups, 1)), axis=1)
        here = (member >= low) & (member < low + n_groups)
        positions[here] = shuffled[member[here] - low, rank[here]]
    return positions


def usage_null(
    scaled: sparse.csr_matrix,
    unit: FloatArray,
    block_of: IntArray,
    *,
    crowding: float,
    n_perms: int,
    rng: np.random.Generator,
) -> NullResult:
    """Score at the observed crowding when features meet as often as their usage within blocks implies."""
    observed = overlaps([scaled], unit)[0]
    draws = (permute_within_blocks(scaled, block_of, rng) for _ in range(n_perms))
    return compare(crowding * observed, crowding * overlaps(draws, unit))


def assignment_null(
    scaled: sparse.csr_matrix, unit: FloatArray, *, crowding: float, n_perms: int, rng: np.random.Generator
) -> NullResult:
    """Score when decoder rows are dealt to the features at random (a Mantel test).

    Co-activation and the set of cosines are both kept as they are; only who has which row is not. More features than
    fill a tile are represented by a random choice of them, among which the test is as exact.
    """
    most = int(np.sqrt(TILE_ENTRIES))
    if len(unit) > most:
        chosen = np.sort(rng.choice(len(unit), most, replace=False))
        scaled, unit = sparse.csr_matrix(scaled[:, chosen]), unit[chosen]
    m = len(unit)
    table = next(squared_cosine_tiles(unit))[1]
    pairs, total = coactivation(scaled, 0, m), crowding_sum(scaled)
    weighted = np.zeros(n_perms + 1)
    for number in range(n_perms + 1):
        order = rng.permutation(m) if number else np.arange(m)
        weighted[number] = _reordered_sum(pairs, table, order)
    values = crowding * weighted / total if total > 0 else weighted
    return compare(float(values[0]), values[1:])


def _reordered_sum(pairs: sparse.csr_matrix | FloatArray, table: FloatArray, order: IntArray) -> float:
    """``sum_{i != j} A_ij cos_{order(i) order(j)}^2``."""
    if isinstance(pairs, np.ndarray):
        return float(np.einsum("ij,ij->", pairs, table[np.ix_(order, order)]))
    first = np.repeat(order * len(order), np.diff(pairs.indptr))
    return float(pairs.data @ table.ravel().take(first + order[pairs.indices]))


def random_dictionary(observed: Interference, n_dims: int) -> tuple[float, float]:
    """Exact mean and standard deviation of the score when unit rows are drawn uniformly, codes kept.

    Squared cosines of distinct pairs of uniform directions have mean ``1/d`` and variance ``2(d - 1)/(d^2 (d + 2))``
    and are uncorrelated, so both moments follow from the co-activation alone.
    """
    mean = observed.crowding / n_dims
    variance = 2 * (n_dims - 1) / (n_dims**2 * (n_dims + 2))
    return mean, float(np.sqrt(2 * observed.coactivation_squares * variance) / observed.energy)


def usage_crowding(scaled: sparse.csr_matrix, block_of: IntArray) -> float:
    """Exact expectation of the crowding when features fire independently of each other within blocks."""
    product = 0.0
    for rows in _blocks(block_of):
        sums = np.asarray(scaled[rows].sum(0)).ravel()
        product += (sums.sum() ** 2 - sums @ sums) / len(rows)
    return product / float(scaled.data @ scaled.data)


def _blocks(block_of: IntArray) -> Iterator[IntArray]:
    order = np.argsort(block_of, kind="stable")
    yield from np.split(order, np.cumsum(np.bincount(block_of))[:-1])
