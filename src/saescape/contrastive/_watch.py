"""Measures of a representation during training, on some of the training crops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from saescape.metrics import effective_rank

from ._network import encode
from ._sampler import epoch_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from saescape._typing import FloatArray, IntArray

    from ._crops import CropSource
    from ._network import SmallNetwork

_N_WATCHED = 512
_BLOCK = 128
_N_NEIGHBOURS = 10
_MIN_RANK, _MIN_SD = 2.0, 1e-4


class Watch:
    """Up to 512 crops, drawn as in training, on which every epoch is measured.

    `labels` are codes, negative for unknown, and `groups` the levels of nested groups without the labels.
    """

    def __init__(
        self, crops: CropSource, labels: IntArray | None, groups: Sequence[IntArray], rng: np.random.Generator
    ) -> None:
        levels = [*groups] if labels is None else [labels, *groups]
        drawn = epoch_order(levels, len(crops), rng)
        first = np.sort(np.unique(drawn, return_index=True)[1])[:_N_WATCHED]
        self.rows = np.sort(drawn[first])
        self.crops = crops.read(self.rows)
        self.labels = None if labels is None else labels[self.rows]
        # a crop without a group is a group of its own, so that it is no neighbour of itself
        members = np.column_stack(groups)[self.rows] if groups else self.rows[:, None]
        self.group = np.unique(members, axis=0, return_inverse=True)[1].reshape(-1)

    def measure(self, network: SmallNetwork, device: torch.device) -> dict[str, float]:
        """`effective_rank` and `sd` of the pooled unit vectors, and with labels `knn`."""
        pieces = [encode(network, part, device).mean((2, 3)).cpu() for part in self.crops.split(_BLOCK)]
        pooled = np.concatenate([piece.double().numpy() for piece in pieces])
        unit = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        finite = bool(np.isfinite(unit).all())
        measures = {
            "effective_rank": effective_rank(unit) if finite else math.nan,
            "sd": float(unit.std(0).mean()),
        }
        if self.labels is not None:
            measures["knn"] = knn_score(unit, self.labels, self.group) if finite else math.nan
        return measures

    def check(self, measures: dict[str, float], epoch: int) -> None:
        """Stop when all crops look alike.

        Raises
        ------
        ValueError
            If the effective rank is below 2, or the SD below 1e-4, or they are not finite.
        """
        if len(self.rows) > 2 and not (measures["effective_rank"] >= _MIN_RANK and measures["sd"] >= _MIN_SD):
            msg = (
                f"The representation collapsed in epoch {epoch}: effective rank {measures['effective_rank']:.3g}, SD "
                f"{measures['sd']:.2g}. Lower `lr`, or give crops that differ from each other."
            )
            raise ValueError(msg)


def knn_score(unit: FloatArray, labels: IntArray, group: IntArray) -> float:
    """Balanced accuracy of the majority label of the 10 most similar rows of other groups.

    Rows whose label occurs in no other group are left out; NaN if fewer than two labels remain.
    """
    known = np.flatnonzero(labels >= 0)
    unit, labels, group = unit[known], labels[known], group[known]
    elsewhere = group[:, None] != group[None]
    possible = (elsewhere & (labels[:, None] == labels[None])).any(1)
    if len(np.unique(labels[possible])) < 2:
        return math.nan
    similarity = np.where(elsewhere, unit @ unit.T, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :_N_NEIGHBOURS]
    valid = np.take_along_axis(elsewhere, nearest, axis=1)
    votes = np.zeros((len(labels), labels.max() + 1))
    np.add.at(votes, (np.arange(len(labels))[:, None], labels[nearest]), valid)
    hit = votes.argmax(1) == labels
    return float(np.mean([hit[possible & (labels == label)].mean() for label in np.unique(labels[possible])]))
