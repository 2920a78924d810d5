"""Ranks of sparse codes within strata of cells, the many zeros sharing one rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray


@dataclass(frozen=True)
class RankedCodes:
    """Ranks (from 1, ties averaged) of each feature within each stratum.

    `above` `(n, n_features)` holds how far the rank of each positive code lies above that of the zeros, `zero`
    `(n_strata, n_features)`; `spread` the sum of squared deviations from the mean rank, `n_active` the positive codes;
    `stratum_of` the stratum of each row and `sizes` their rows.
    """

    above: sparse.csr_matrix
    zero: FloatArray
    spread: FloatArray
    n_active: IntArray
    stratum_of: IntArray
    sizes: IntArray

    @property
    def centre(self) -> FloatArray:
        """Mean rank of each stratum `(n_strata,)`."""
        return (self.sizes + 1) / 2

    def members(self) -> list[IntArray]:
        """Rows of each stratum."""
        order = np.argsort(self.stratum_of, kind="stable")
        return np.split(order, np.cumsum(self.sizes)[:-1])


def ranked_codes(codes: sparse.csr_matrix, stratum_of: IntArray) -> RankedCodes:
    """Rank non-negative codes `(n, n_features)` within strata, numbered from 0 without gaps."""
    entries = sparse.coo_matrix(codes)
    kept = entries.data > 0
    row, column, value = entries.row[kept], entries.col[kept].astype(np.int64), entries.data[kept]
    n_features = codes.shape[1]
    sizes = np.bincount(stratum_of)
    pair = stratum_of[row].astype(np.int64) * n_features + column
    n_pairs = len(sizes) * n_features
    n_active = np.bincount(pair, minlength=n_pairs)
    n_zero = np.repeat(sizes, n_features) - n_active
    zero = (n_zero + 1) / 2

    order = np.lexsort((value, pair))
    pair, value = pair[order], value[order]
    first = np.concatenate([[0], np.cumsum(n_active)])[pair]
    new = np.ones(len(pair), dtype=bool)
    new[1:] = (pair[1:] != pair[:-1]) | (value[1:] != value[:-1])
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(pair)) - 1
    mean_place = ((starts + ends) / 2)[np.cumsum(new) - 1] if len(pair) else np.zeros(0)
    rank = n_zero[pair] + mean_place - first + 1

    squares = np.bincount(pair, weights=rank**2, minlength=n_pairs) + n_zero * zero**2
    n = np.repeat(sizes, n_features)
    shape = (len(sizes), n_features)
    above = sparse.csr_matrix((rank - zero[pair], (row[order], column[order])), codes.shape)
    return RankedCodes(
        above=above,
        zero=zero.reshape(shape),
        spread=np.maximum(squares - n * ((n + 1) / 2) ** 2, 0).reshape(shape),
        n_active=n_active.reshape(shape),
        stratum_of=stratum_of,
        sizes=sizes,
    )


def stratum_ranks(values: FloatArray, stratum_of: IntArray) -> FloatArray:
    """Ranks of numbers within strata, ties averaged, minus their mean."""
    from scipy.stats import rankdata

    result = np.empty(len(values))
    for number in range(int(stratum_of.max()) + 1):
        rows = np.flatnonzero(stratum_of == number)
        result[rows] = rankdata(values[rows]) - (len(rows) + 1) / 2
    return result
