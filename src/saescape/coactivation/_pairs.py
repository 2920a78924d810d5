"""How often features are active together, against permutations that keep their frequencies within strata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.special import betainc, gammainc, ndtr

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

# below this share of the mean, the variance leaves nothing of a binomial's success probability to fit
_POISSON = 1e-9


@dataclass(frozen=True)
class Pairs:
    """Pairs of features ``first < second`` that are active together in enough cells.

    `expected` is the mean of `count` over permutations; `pmi` is ``log2(count / expected)``; `qvalue` is adjusted over
    all pairs of features, also those that are not listed.
    """

    first: IntArray
    second: IntArray
    count: IntArray
    expected: FloatArray
    pmi: FloatArray
    pvalue: FloatArray
    qvalue: FloatArray


def active_entries(codes: sparse.csr_matrix, threshold: float) -> sparse.csr_matrix:
    """Boolean matrix of the codes above a share of the feature's largest code."""
    largest = codes.max(0).toarray().ravel()
    active = codes.data > threshold * largest[codes.indices]
    binary = sparse.csr_matrix((active.astype(np.float32), codes.indices, codes.indptr), codes.shape, copy=True)
    binary.eliminate_zeros()
    return binary


def coactive_pairs(active: sparse.csr_matrix, stratum_of: IntArray, *, min_count: int) -> Pairs:
    r"""Compare counts of common cells with their distribution under permutation of each feature within each stratum.

    Permutations need not be drawn: in a stratum of `n` cells of which `a` and `b` have the features, the count is
    hypergeometric, with mean ``a b / n`` and variance ``a b (n - a)(n - b) / (n^2 (n - 1))``; strata are independent.
    The p-value follows from the mean and the variance of the sum, see :func:`upper_tail`.

    Parameters
    ----------
    active
        `(n_cells, n_features)`, 1 where a feature is active.
    stratum_of
        Number of the stratum of each cell, from 0.
    min_count
        Common cells that a pair must have to be listed.
    """
    m = active.shape[1]
    together = sparse.triu(sparse.csr_matrix(active.T @ active), k=1).tocoo()
    enough = together.data >= min_count
    first, second = together.row[enough].astype(np.int64), together.col[enough].astype(np.int64)
    count = np.round(together.data[enough]).astype(np.int64)
    expected, variance = _moments(active, stratum_of, first, second)
    pvalue = upper_tail(count, expected, variance)
    pmi = np.log2(count / expected)
    return Pairs(first, second, count, expected, pmi, pvalue, adjusted(pvalue, m * (m - 1) // 2))


def _moments(
    active: sparse.csr_matrix, stratum_of: IntArray, first: IntArray, second: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and variance over permutations of the count of each pair."""
    expected, variance = np.zeros(len(first)), np.zeros(len(first))
    order = np.argsort(stratum_of, kind="stable")
    for cells in np.split(order, np.cumsum(np.bincount(stratum_of))[:-1]):
        n = len(cells)
        if n == 0:
            continue
        usage = np.asarray(active[cells].sum(0), dtype=np.float64).ravel()
        a, b = usage[first], usage[second]
        expected += a * b / n
        if n > 1:
            variance += a * b * (n - a) * (n - b) / (n**2 * (n - 1.0))
    return expected, variance


def upper_tail(count: IntArray, mean: FloatArray, variance: FloatArray) -> FloatArray:
    """``P(X >= count)`` by mean and variance: the larger of two approximations.

    The binomial (in the limit Poisson) distribution is right where counts are small. Where both features are frequent,
    its tail is too thin, for it leans to the left while the hypergeometric one is nearly symmetric; the normal
    distribution with continuity correction is right there.
    """
    result = np.where(count > mean, 0.0, 1.0)
    varies = variance > 0
    k, mu = count[varies].astype(np.float64), mean[varies]
    success = 1 - variance[varies] / mu
    trials = mu / np.maximum(success, _POISSON)
    with np.errstate(invalid="ignore"):
        binomial = betainc(k, np.maximum(trials - k + 1, 1e-12), np.maximum(success, 0))
    tail = np.where(success > _POISSON, np.where(k <= trials, binomial, 0.0), gammainc(k, mu))
    normal = ndtr((mu - k + 0.5) / np.sqrt(variance[varies]))
    result[varies] = np.where(k > 0, np.maximum(tail, normal), 1.0)
    return result


def adjusted(pvalue: FloatArray, n_tests: int) -> FloatArray:
    """Benjamini-Hochberg over `n_tests` tests, of which those not given have p-values of 1."""
    order = np.argsort(pvalue)
    scaled = pvalue[order] * n_tests / np.arange(1, len(pvalue) + 1)
    result = np.empty(len(pvalue))
    result[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return result


def share_of_batches(active: sparse.csr_matrix, stratum_of: IntArray, batch_of: IntArray, pairs: Pairs) -> FloatArray:
    """Share of the batches in which a pair meets more often than expected, of those in which it could meet."""
    above, possible = np.zeros((2, len(pairs.first)))
    columns = active.tocsc()
    for batch in range(int(batch_of.max()) + 1):
        cells = np.flatnonzero(batch_of == batch)
        here = columns[cells]
        strata = np.unique(stratum_of[cells], return_inverse=True)[1]
        expected, _ = _moments(here.tocsr(), strata, pairs.first, pairs.second)
        count = _counts(here, pairs.first, pairs.second)
        above += count > expected
        possible += expected > 0
    return np.divide(above, possible, out=np.zeros(len(above)), where=possible > 0)


def _counts(active: sparse.csc_matrix, first: IntArray, second: IntArray) -> FloatArray:
    together = sparse.csr_matrix(active.T @ active)
    return np.asarray(together[first, second]).ravel()
