"""Detection: how well a rule, read from a description, tells active cells from inactive ones in groups held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ._association import associate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from saescape._typing import BoolArray, FloatArray, IntArray


class Counts:
    """Right and wrong predictions of each feature, over both halves."""

    def __init__(self, n_features: int) -> None:
        self._hits, self._size = np.zeros((2, n_features)), np.zeros((2, n_features))
        self._untested = np.zeros(n_features, dtype=bool)

    def add(self, feature: int, active: BoolArray, predicted: BoolArray) -> None:
        """Take predictions for the cells of one half."""
        for side, (truth, guess) in enumerate(((active, predicted), (~active, ~predicted))):
            self._hits[side, feature] += np.sum(truth & guess)
            self._size[side, feature] += truth.sum()

    def leave_out(self, feature: int) -> None:
        """One half has no rule for the feature."""
        self._untested[feature] = True

    @property
    def balanced_accuracy(self) -> FloatArray:
        """Mean of sensitivity and specificity; NaN where there is no rule, or no active or inactive cell."""
        with np.errstate(invalid="ignore", divide="ignore"):
            result = (self._hits / self._size).mean(0)
        return np.where(self._untested, np.nan, result)


def detect_by_label(
    codes: sparse.csr_matrix, labels: IntArray, n_labels: int, features: IntArray, half_of: IntArray
) -> FloatArray:
    """Balanced accuracy of "active in the label that has the best F1 on the other half", for some features.

    Parameters
    ----------
    codes
        `(n, n_features)`; a cell is active where positive.
    labels
        From 0; -1 where missing: never predicted to be active.
    features
        Features to judge.
    half_of
        0 or 1 for each cell.
    """
    counts = Counts(codes.shape[1])
    columns = sparse.csc_matrix(codes)
    for feature in features:
        active = _active(columns, feature)
        for half in (0, 1):
            train, test = half_of != half, half_of == half
            known = train & (labels >= 0)
            size = np.bincount(labels[known], minlength=n_labels)
            shared = np.bincount(labels[known & active], minlength=n_labels)
            best = int(np.argmax(2 * shared / np.maximum(size + np.sum(active & train), 1)))
            counts.add(feature, active[test], labels[test] == best)
    return counts.balanced_accuracy


def detect_by_genes(
    codes: sparse.csr_matrix,
    expression: FloatArray | sparse.csr_matrix,
    features: IntArray,
    half_of: IntArray,
    group_of: IntArray | None,
    *,
    n_genes: int,
    min_cells: int,
    markers: Mapping[int, Sequence[int]] | None = None,
) -> FloatArray:
    """Balanced accuracy of "active where the mean z-score of genes is above a threshold", for some features.

    Genes (those with the largest standardised difference, up to `n_genes` that are higher), their means and SDs, and
    the threshold come from the other half. `markers` are genes given for features, which are then not chosen.
    """
    counts = Counts(codes.shape[1])
    by_cell, by_gene = sparse.csc_matrix(codes), _columns_of(expression)
    for half in (0, 1):
        train, test = np.flatnonzero(half_of != half), np.flatnonzero(half_of == half)
        chosen: Mapping[int, Sequence[int]]
        if markers is None:
            groups = None if group_of is None else group_of[train]
            chosen = _genes_up(codes[train], expression[train], groups, features, n_genes, min_cells)
        else:
            chosen = markers
        for feature in features:
            genes = list(chosen.get(int(feature), ()))
            active = _active(by_cell, feature)
            if not genes or active[train].all() or not active[train].any():
                counts.leave_out(feature)
                continue
            score = _score(by_gene, genes, train)
            counts.add(feature, active[test], score[test] > _best_threshold(score[train], active[train]))
    return counts.balanced_accuracy


def _active(codes: sparse.csc_matrix, feature: int) -> BoolArray:
    active = np.zeros(codes.shape[0], dtype=bool)
    part = slice(codes.indptr[feature], codes.indptr[feature + 1])
    active[codes.indices[part]] = codes.data[part] > 0
    return active


def _columns_of(expression: FloatArray | sparse.csr_matrix) -> FloatArray | sparse.csc_matrix:
    return sparse.csc_matrix(expression) if sparse.issparse(expression) else expression


def _genes_up(
    codes: sparse.csr_matrix,
    expression: FloatArray | sparse.csr_matrix,
    group_of: IntArray | None,
    features: IntArray,
    n_genes: int,
    min_cells: int,
) -> dict[int, list[int]]:
    found = associate(codes[:, features], expression, group_of, min_cells=min_cells, test=False).standardized
    chosen = {}
    for feature, values in zip(features, found, strict=True):
        order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[:n_genes]
        chosen[int(feature)] = [int(gene) for gene in order if values[gene] > 0]
    return chosen


def _score(expression: FloatArray | sparse.csc_matrix, genes: list[int], train: IntArray) -> FloatArray:
    values = expression[:, genes]
    values = np.asarray(values.toarray() if isinstance(values, sparse.csc_matrix) else values, dtype=np.float64)
    mean, sd = values[train].mean(0), values[train].std(0)
    return ((values - mean) / np.where(sd > 0, sd, np.inf)).mean(1)


def _best_threshold(score: FloatArray, active: BoolArray) -> float:
    """Threshold with the best balanced accuracy: half-way between two values, none better by ties."""
    order = np.argsort(score, kind="stable")
    values, truth = score[order], active[order]
    # cells up to each place are predicted to be inactive
    missed, spared = np.cumsum(truth) / truth.sum(), np.cumsum(~truth) / (~truth).sum()
    ends = np.flatnonzero(np.append(np.diff(values) > 0, True))
    best = ends[int(np.argmax((spared - missed)[ends]))]
    return float((values[best] + values[min(best + 1, len(values) - 1)]) / 2)
