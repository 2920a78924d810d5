"""F1, precision and recall of "active above a threshold" as a predictor of a label, on groups held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

# quantiles of the positive codes that are tried, besides any activity at all
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class HeldOut:
    """Tables `(n_labels, n_features)`; `threshold` is the best one on all cells, `baseline` `(n_labels,)`."""

    f1: FloatArray
    precision: FloatArray
    recall: FloatArray
    threshold: FloatArray
    baseline: FloatArray


def held_out_f1(codes: sparse.csr_matrix, labels: np.ndarray, n_labels: int, half_of: IntArray) -> HeldOut:
    """Choose the threshold with the best F1 on one half, count on the other, and the other way round.

    Parameters
    ----------
    codes
        `(n, n_features)`, non-negative.
    labels
        Label of each cell, from 0.
    half_of
        0 or 1.

    Returns
    -------
    F1, precision and recall of the counts of both halves together, NaN for labels that one half has none of. The
    baseline is the F1 of predicting the label everywhere, ``2p / (1 + p)`` with its share `p`.
    """
    n = len(labels)
    case = sparse.csr_matrix((np.ones(n), (half_of * n_labels + labels, np.arange(n))), (2 * n_labels, n))
    n_case = np.bincount(half_of * n_labels + labels, minlength=2 * n_labels).reshape(2, n_labels)
    levels = _levels(codes)
    hits = np.stack([_hits(case, codes, level).reshape(2, n_labels, -1) for level in levels])
    found = hits.sum(2, keepdims=True)
    f1 = _f1(hits, found, n_case[:, :, None])

    sums = [np.zeros(hits.shape[2:]) for _ in range(2)]
    for train, test in ((0, 1), (1, 0)):
        best = np.argmax(f1[:, train], axis=0)[None]
        sums[0] += np.take_along_axis(hits[:, test], best, 0)[0]
        sums[1] += np.take_along_axis(np.broadcast_to(found[:, test], hits[:, test].shape), best, 0)[0]
    both = np.all(n_case > 0, axis=0)[:, None]
    size = n_case.sum(0)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(both, sums[0] / sums[1], np.nan)
    everywhere = np.argmax(_f1(hits.sum(1), found.sum(1), size), axis=0)
    share = size[:, 0] / n
    return HeldOut(
        f1=np.where(both, _f1(sums[0], sums[1], size), np.nan),
        precision=precision,
        recall=np.where(both, sums[0] / np.maximum(size, 1), np.nan),
        threshold=np.take_along_axis(levels, everywhere, 0),
        baseline=2 * share / (1 + share),
    )


def _f1(hits: FloatArray, found: FloatArray, size: FloatArray | IntArray) -> FloatArray:
    return 2 * hits / np.maximum(found + size, 1)


def _levels(codes: sparse.csr_matrix) -> FloatArray:
    """Thresholds `(n_levels, n_features)`."""
    columns = sparse.csc_matrix(codes)
    levels = np.zeros((1 + len(_QUANTILES), codes.shape[1]))
    for feature, (start, stop) in enumerate(zip(columns.indptr[:-1], columns.indptr[1:], strict=True)):
        values = columns.data[start:stop]
        values = values[values > 0]
        if len(values):
            levels[1:, feature] = np.quantile(values, _QUANTILES, method="lower")
    return levels


def _hits(case: sparse.csr_matrix, codes: sparse.csr_matrix, level: FloatArray) -> FloatArray:
    above = sparse.csr_matrix((codes.data > level[codes.indices], codes.indices, codes.indptr), codes.shape)
    return (case @ above.astype(np.float64)).toarray()


def halves(labels: np.ndarray, group_of: IntArray | None, rng: np.random.Generator) -> IntArray:
    """Deal groups to two halves at random, each label's alike if a label belongs to whole groups; cells without groups.

    Returns
    -------
    0 or 1 for each cell.
    """
    unit_of = np.arange(len(labels)) if group_of is None else group_of
    units, first = np.unique(unit_of, return_index=True)
    of_unit = labels[first]
    nested = np.array_equal(of_unit[np.searchsorted(units, unit_of)], labels)
    order = rng.permutation(len(units))
    if nested:
        order = order[np.argsort(of_unit[order], kind="stable")]
    half = np.empty(len(units), dtype=np.int64)
    half[order] = np.arange(len(units)) % 2
    return half[np.searchsorted(units, unit_of)]
