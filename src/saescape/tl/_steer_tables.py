"""What is measured of each dose of `tl.steer`, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from saescape.sae._stability import unit_rows
from saescape.steering._effects import Push, variable_effects
from saescape.steering._manifold import RealCells, similar_features

if TYPE_CHECKING:
    from saescape._stored_features import StoredFeatures
    from saescape._typing import FloatArray, IntArray
    from saescape.steering._effects import Decoder

# steered cells that lie this much farther from real ones than real ones from each other are no cells
_OFF_MANIFOLD = 2.0
# cells whose covariance random directions have
_COVARIANCE_CELLS = 4_000
_EFFECT_COLUMNS = (
    *("factor", "variable", "effect", "effect_sd", "n_groups", "statistic", "pvalue", "qvalue"),
    *("control", "specificity"),
)


@dataclass(frozen=True)
class DoseTables:
    """Tables of one dose."""

    doses: pd.DataFrame
    effects: pd.DataFrame | None
    labels: pd.DataFrame | None
    factor: float
    n_groups: int

    def effects_of(self, names: Any) -> pd.DataFrame:
        """Effects with the names of the variables."""
        from saescape.links._nulls import false_discovery_rates

        if self.effects is None:
            return pd.DataFrame({name: [] for name in _EFFECT_COLUMNS})
        named = self.effects.assign(
            factor=self.factor,
            variable=np.asarray(names, dtype=object),
            qvalue=false_discovery_rates(self.effects["pvalue"].to_numpy()),
        )
        return named[list(_EFFECT_COLUMNS)]


@dataclass(frozen=True)
class Steering:
    """Cells to steer, and directions to compare with.

    `x` are rows `(n, d)`, pooled over positions; `directions` those of the features that are steered;
    `feature_controls` and `random_controls` have length 1 `(n_controls, d)`; `similar` are the numbers of the features
    among the former.
    """

    x: Any
    directions: FloatArray
    similar: IntArray
    feature_controls: FloatArray
    random_controls: FloatArray
    n_neighbors: int
    rng: np.random.Generator

    @classmethod
    def prepare(
        cls,
        x: Any,
        decoder: FloatArray,
        features: StoredFeatures,
        chosen: IntArray,
        *,
        n_controls: int,
        n_neighbors: int,
        rng: np.random.Generator,
    ) -> Steering:
        """Draw the controls."""
        similar = similar_features(features.n_active, chosen, n_controls, rng)
        n = x.shape[0]
        some = np.sort(rng.choice(n, _COVARIANCE_CELLS, replace=False)) if n > _COVARIANCE_CELLS else np.arange(n)
        sample = np.asarray(x[some].toarray() if sparse.issparse(x) else x[some], dtype=np.float64)
        sample = sample - sample.mean(0)
        # random sums of rows have the covariance of the rows
        random = rng.standard_normal((n_controls, len(sample))) @ sample
        directions = decoder[chosen].astype(np.float64)
        return cls(x, directions, similar, unit_rows(decoder[similar]), unit_rows(random), n_neighbors, rng)

    def measure(
        self,
        change: FloatArray,
        factor: float,
        *,
        groups: tuple[IntArray, pd.Index] | None,
        batches: IntArray,
        path: Decoder | None,
    ) -> DoseTables:
        """Measure one dose.

        Parameters
        ----------
        change
            Of the codes of each cell `(n, k)`.
        factor
            The dose, for the tables.
        groups
            Number of the label of each cell, and names.
        batches
            Number of the unit of independence of each cell.
        path
            To the variables.
        """
        push = Push(np.asarray(change, dtype=np.float64), self.directions)
        moved = np.flatnonzero(change.any(1))
        generator = np.random.default_rng(self.rng.integers(2**63, size=2))
        cells = RealCells(self.x, moved if len(moved) else np.arange(len(change)), self.n_neighbors, generator)
        here = push.take(cells.steered)
        kinds = {
            "feature": [here],
            "random_feature": [here.along(direction) for direction in self.feature_controls],
            "random_direction": [here.along(direction) for direction in self.random_controls],
        }
        length = float(np.abs(push.take(moved).signed_length()).mean()) if len(moved) else 0.0
        doses, shares = [], {}
        for kind, pushes in kinds.items():
            found = [cells.look_around(one.shift(slice(None))) for one in pushes]
            ratio = float(np.mean([distance for distance, _ in found])) / cells.distance if found else np.nan
            doses.append((factor, kind, len(moved), length, ratio, ratio > _OFF_MANIFOLD))
            shares[kind] = [neighbors for _, neighbors in found]
        columns = ["factor", "kind", "n_changed", "shift", "distance_ratio", "off_manifold"]
        labels = None if groups is None else self._labels(cells, shares, factor, *groups)
        effects, n_groups = None, len(np.unique(batches[moved]))
        if path is not None:
            rows = moved if len(moved) else np.arange(len(change))
            of_group = np.unique(batches[rows], return_inverse=True)[1].ravel()
            controls = self.random_controls
            effects = variable_effects(path, self.x[rows], push.take(rows), controls, of_group, generator)
        return DoseTables(pd.DataFrame(doses, columns=columns), effects, labels, factor, n_groups)

    def _labels(
        self, cells: RealCells, shares: dict[str, list[IntArray]], factor: float, label_of: IntArray, names: pd.Index
    ) -> pd.DataFrame:
        def share(neighbors: IntArray) -> FloatArray:
            return cells.label_shares(neighbors, label_of, len(names))

        before, after = share(cells.neighbors), share(shares["feature"][0])
        table = pd.DataFrame({"factor": factor, "label": names.astype(object), "share_before": before})
        table["share_after"], table["change"] = after, after - before
        for kind in ("random_feature", "random_direction"):
            changes = [np.abs(share(one) - before) for one in shares[kind]]
            table[kind] = np.mean(changes, axis=0) if changes else np.nan
        return table
