"""How good a coupling is, from the pairing and the labels that no method has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import saescape as sae

from .costs import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .data import Pair


def conditional(plan: NDArray) -> NDArray:
    """Each row's distribution; a row without mass prefers nothing."""
    mass = plan.sum(1, keepdims=True)
    return np.where(mass > 0, plan / np.where(mass > 0, mass, 1), 1 / plan.shape[1])


def score(plan: NDArray, pair: Pair) -> dict[str, float | None]:
    """FOSCTTM and accuracy of the label with most mass, means of both directions.

    FOSCTTM is that of the barycentric projections, rows of unit length.
    """
    x, y = unit_rows(pair.x), unit_rows(pair.y)
    rows, columns = conditional(plan), conditional(plan.T)
    foscttm = None
    if pair.paired:
        foscttm = (sae.metrics.foscttm(rows @ y, y) + sae.metrics.foscttm(columns @ x, x)) / 2
    n_labels = 1 + max(pair.labels_x.max(), pair.labels_y.max())
    one_hot = np.eye(n_labels + 1)
    found: dict[bool, list[float]] = {False: [], True: []}
    for shares, own, other in (
        (rows, pair.labels_x, pair.labels_y),
        (columns, pair.labels_y, pair.labels_x),
    ):
        # the column of unknown labels is left out; types that the other side lacks cannot be right
        predicted = (shares @ one_hot[other])[:, :n_labels].argmax(1)
        known = np.isin(own, np.unique(other)) & (own >= 0)
        for balanced, values in found.items():
            values.append(sae.metrics.label_transfer_accuracy(own[known], predicted[known], balanced=balanced))
    error = np.abs(plan.sum(1) - 1 / len(plan)).sum() + np.abs(plan.sum(0) - 1 / plan.shape[1]).sum()
    return {
        "foscttm": foscttm,
        "accuracy": float(np.mean(found[False])),
        "balanced": float(np.mean(found[True])),
        "marginal_error": float(error),
    }
