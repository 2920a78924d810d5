"""Co-activation-weighted interference: how much features that fire together overlap in the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from saescape._typing import FloatArray

# entries of one tile of squared cosines; one tile holds up to 4,096 features
TILE_ENTRIES = 2**24
# above this density a dense product is faster than a sparse one
_DENSE = 0.05
_CHUNK_ENTRIES = 2**22


@dataclass(frozen=True)
class Interference:
    """Sums over cells of one data set; divided by `energy` they are the measures.

    `per_feature` is ``sum_{j != i} E[y_i y_j] cos_ij^2 / E[y_i^2]``, `coactivation_squares` the sum of squares of the
    off-diagonal of ``Y^T Y``.
    """

    score: float
    crowding: float
    overlap: float
    per_feature: FloatArray
    coactivation_squares: float
    energy: float


def scale_codes(codes: sparse.csr_matrix, decoder: FloatArray) -> tuple[sparse.csr_matrix, FloatArray]:
    """Codes in units of what they decode to, ``y_i = z_i ||W_i||``, and unit decoder rows (zero rows stay zero)."""
    rows = np.asarray(decoder, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1)
    unit = rows / np.where(norms > 0, norms, 1.0)[:, None]
    scaled = sparse.csr_matrix(codes, dtype=np.float64, copy=True)
    scaled.data *= norms[scaled.indices]
    scaled.eliminate_zeros()
    return scaled, unit.astype(np.float32)


def squared_cosine_tiles(unit: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    """Iterate over ``(first feature, squared cosines with all features)``, zero where a feature meets itself."""
    size = max(1, TILE_ENTRIES // max(1, len(unit)))
    for start in range(0, len(unit), size):
        tile = unit[start : start + size] @ unit.T
        np.square(tile, out=tile)
        tile[np.arange(len(tile)), start + np.arange(len(tile))] = 0.0
        yield start, tile


def coactivation(scaled: sparse.csr_matrix, start: int, stop: int) -> sparse.csr_matrix | FloatArray:
    """Rows `start:stop` of ``Y^T Y``: sparse (co-active pairs only) unless the codes are dense."""
    n, m = scaled.shape
    left = scaled[:, start:stop] if stop - start < m else scaled
    if scaled.nnz <= _DENSE * n * m:
        return sparse.csr_matrix(left.T.tocsr() @ scaled)
    product = np.zeros((stop - start, m))
    size = max(1, _CHUNK_ENTRIES // m)
    for low in range(0, n, size):
        product += left[low : low + size].toarray().T @ scaled[low : low + size].toarray()
    return product


def overlap_rows(pairs: sparse.csr_matrix | FloatArray, tile: FloatArray) -> tuple[FloatArray, float]:
    """Per feature of a tile, co-activation times squared cosine summed over partners; and the sum of squares."""
    if isinstance(pairs, np.ndarray):
        return np.einsum("ij,ij->i", pairs, tile), float(np.square(pairs).sum())
    rows = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    weighted = np.bincount(
        rows, pairs.data * tile.ravel().take(rows * tile.shape[1] + pairs.indices), minlength=len(tile)
    )
    return weighted.astype(np.float64, copy=False), float(pairs.data @ pairs.data)


def crowding_sum(scaled: sparse.csr_matrix) -> float:
    """``sum_{i != j} y_i y_j`` over all cells."""
    total = np.asarray(scaled.sum(1)).ravel()
    return float(np.maximum(total @ total - scaled.data @ scaled.data, 0.0))


def interference(scaled: sparse.csr_matrix, unit: FloatArray) -> Interference:
    """The headline and its two factors, over all pairs of features that meet in a cell.

    Parameters
    ----------
    scaled
        Codes ``y = z ||W||`` `(n_cells, n_features)`.
    unit
        Unit decoder rows `(n_features, n_dims)`.
    """
    per_feature, squares = [], 0.0
    for start, tile in squared_cosine_tiles(unit):
        rows, tile_squares = overlap_rows(coactivation(scaled, start, start + len(tile)), tile)
        per_feature.append(rows)
        squares += tile_squares
    energies = np.asarray(scaled.multiply(scaled).sum(0)).ravel()
    weighted = np.concatenate(per_feature)
    energy, crowding = float(energies.sum()), crowding_sum(scaled)
    return Interference(
        score=float(weighted.sum() / energy),
        crowding=crowding / energy,
        overlap=float(weighted.sum() / crowding) if crowding > 0 else 0.0,
        per_feature=np.divide(weighted, energies, out=np.full(len(energies), np.nan), where=energies > 0),
        coactivation_squares=max(squares - float(energies @ energies), 0.0),
        energy=energy,
    )


def overlaps(draws: Iterable[sparse.csr_matrix], unit: FloatArray, *, max_entries: int = 2**24) -> FloatArray:
    """Mean squared cosine of co-active pairs (weighted by co-activation) for each of many sets of codes.

    Draws are taken in batches of about `max_entries` stored codes, so that tiles of cosines are formed once per batch.
    """
    results: list[FloatArray] = []
    batch: list[sparse.csr_matrix] = []
    stored = 0
    for draw in draws:
        batch.append(draw)
        stored += draw.nnz
        if stored >= max_entries:
            results.append(_batch_overlaps(batch, unit))
            batch, stored = [], 0
    if batch:
        results.append(_batch_overlaps(batch, unit))
    return np.concatenate(results)


def _batch_overlaps(batch: list[sparse.csr_matrix], unit: FloatArray) -> FloatArray:
    weighted = np.zeros(len(batch))
    for start, tile in squared_cosine_tiles(unit):
        for number, draw in enumerate(batch):
            pairs = coactivation(draw, start, start + len(tile))
            weighted[number] += overlap_rows(pairs, tile)[0].sum()
    crowding = np.array([crowding_sum(draw) for draw in batch])
    return np.divide(weighted, crowding, out=np.zeros(len(batch)), where=crowding > 0)


def decode_rows(scaled: sparse.csr_matrix, unit: FloatArray) -> FloatArray:
    """``Y W_hat``: what the codes decode to, without the bias, float64."""
    return np.asarray(scaled @ unit.astype(np.float64))


def cell_interference(scaled: sparse.csr_matrix, unit: FloatArray) -> FloatArray:
    """Signed interference of each cell, ``||z W||^2 / sum_i y_i^2 - 1``; 0 for cells without active features."""
    result = np.zeros(scaled.shape[0])
    energy = np.asarray(scaled.multiply(scaled).sum(1)).ravel()
    size = max(1, _CHUNK_ENTRIES // max(1, unit.shape[1]))
    for start in range(0, len(result), size):
        decoded = decode_rows(scaled[start : start + size], unit)
        power = np.einsum("ij,ij->i", decoded, decoded)
        own = energy[start : start + size]
        result[start : start + size] = np.divide(power, own, out=np.ones(len(own)), where=own > 0) - 1.0
    return result
