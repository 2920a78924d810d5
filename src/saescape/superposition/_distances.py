"""How far distances between cells change when their codes are decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from ._neighbors import nearest_neighbors, neighbor_overlap

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray, IntArray

N_NEIGHBORS = 10
_CHUNK_ENTRIES = 2**22


def sample_pairs(n: int, n_pairs: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Random pairs ``i < j`` of distinct cells; every pair once when there are not more than asked for."""
    if n * (n - 1) // 2 <= n_pairs:
        first, second = np.triu_indices(n, 1)
        return first, second
    first = rng.integers(0, n, n_pairs)
    second = rng.integers(0, n - 1, n_pairs)
    second += second >= first
    return np.minimum(first, second), np.maximum(first, second)


def pair_distances(x: FloatArray | sparse.csr_matrix, first: IntArray, second: IntArray) -> FloatArray:
    """Squared Euclidean distances of pairs of rows, float64."""
    result = np.empty(len(first))
    size = max(1, _CHUNK_ENTRIES // max(1, x.shape[1]))
    for low in range(0, len(first), size):
        part = slice(low, low + size)
        difference = x[first[part]] - x[second[part]]
        if isinstance(difference, np.ndarray):
            result[part] = np.einsum("ij,ij->i", difference, difference, dtype=np.float64)
        else:
            result[part] = np.asarray(difference.multiply(difference).sum(1)).ravel()
    return result


def distortion_share(d2_code: FloatArray, d2_rep: FloatArray) -> tuple[float, float]:
    """``E|d2_rep - c d2_code| / E(c d2_code)`` with ``c = E d2_rep / E d2_code``, and `c`.

    The scale makes both means equal, so that the share is between 0 (proportional) and 2.
    """
    if d2_code.mean() == 0 or d2_rep.mean() == 0:
        return float("nan"), float("nan")
    scale = float(d2_rep.mean() / d2_code.mean())
    return float(np.abs(d2_rep - scale * d2_code).mean() / d2_rep.mean()), scale


def rank_correlation(x: FloatArray, y: FloatArray) -> float:
    """Spearman correlation, NaN without variance."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(stats.spearmanr(x, y).statistic)


def distance_distortion(
    scaled: sparse.csr_matrix, decoded: FloatArray, rep: FloatArray, *, n_pairs: int, rng: np.random.Generator
) -> dict[str, float | int]:
    """Compare distances and neighbours of codes with those of what they decode to, and of the actual representation.

    Parameters
    ----------
    scaled
        Codes ``y`` of the sampled cells.
    decoded
        ``Y W_hat`` of the same cells.
    rep
        Actual representation of the same cells, positions pooled.
    """
    n = scaled.shape[0]
    first, second = sample_pairs(n, n_pairs, rng)
    d2_code, d2_decoded = pair_distances(scaled, first, second), pair_distances(decoded, first, second)
    share, scale = distortion_share(d2_code, d2_decoded)
    k = min(N_NEIGHBORS, n - 1)
    of_codes = nearest_neighbors(scaled, k)
    return {
        "share": share,
        "scale": scale,
        "spearman": rank_correlation(d2_code, d2_decoded),
        "knn_overlap": neighbor_overlap(of_codes, nearest_neighbors(decoded, k)),
        "spearman_rep": rank_correlation(d2_code, pair_distances(rep, first, second)),
        "knn_overlap_rep": neighbor_overlap(of_codes, nearest_neighbors(rep, k)),
        "knn_overlap_chance": k / (n - 1),
        "n_neighbors": k,
        "n_cells": n,
        "n_pairs": len(first),
    }
