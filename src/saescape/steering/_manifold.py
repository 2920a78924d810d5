"""Whether steered cells still lie where cells are, and among which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

_MOST_STEERED, _MOST_REAL, _MOST_ENTRIES = 500, 10_000, 2**23


class RealCells:
    """Real cells, among which the neighbours of steered ones are looked for.

    Parameters
    ----------
    x
        Rows `(n, d)`, dense or sparse; at most 10,000 of them are kept, fewer where they are wide.
    candidates
        Cells that are steered, of which at most 500 are looked at.
    """

    def __init__(
        self, x: FloatArray | sparse.csr_matrix, candidates: IntArray, n_neighbors: int, rng: np.random.Generator
    ) -> None:
        from sklearn.neighbors import NearestNeighbors

        n, d = x.shape
        most = min(_MOST_REAL, max(2 * n_neighbors, _MOST_ENTRIES // d))
        self.cells = np.sort(rng.choice(n, most, replace=False)) if n > most else np.arange(n)
        few = len(candidates) > _MOST_STEERED
        self.steered = np.sort(rng.choice(candidates, _MOST_STEERED, replace=False)) if few else candidates
        self.n_neighbors = min(n_neighbors, len(self.cells) - 1)
        self._origin = _dense(x[self.steered])
        self._index = NearestNeighbors(n_neighbors=self.n_neighbors + 1).fit(_dense(x[self.cells]))
        self.distance, self.neighbors = self.look_around(np.zeros_like(self._origin))

    def look_around(self, shift: FloatArray) -> tuple[float, IntArray]:
        """Mean distance to the nearest real cells other than the source, and these `(n_steered, n_neighbors)`.

        Parameters
        ----------
        shift
            Of the steered cells `(n_steered, d)`.
        """
        distance, nearest = self._index.kneighbors(self._origin + shift)
        nearest = self.cells[nearest]
        own = nearest == self.steered[:, None]
        # without its source, or else without the farthest
        own[~own.any(1), -1] = True
        keep = ~own
        shape = (len(self.steered), self.n_neighbors)
        return float(distance[keep].mean()), nearest[keep].reshape(shape)

    def label_shares(self, neighbors: IntArray, label_of: IntArray, n_labels: int) -> FloatArray:
        """Share of each label among the neighbours."""
        return np.bincount(label_of[neighbors].ravel(), minlength=n_labels) / max(neighbors.size, 1)


def _dense(rows: Any) -> FloatArray:
    return np.asarray(rows.toarray() if sparse.issparse(rows) else rows, dtype=np.float64)


def similar_features(n_active: IntArray, steered: IntArray, n_controls: int, rng: np.random.Generator) -> IntArray:
    """Other features that fire about as often, at random among three times as many."""
    others = np.setdiff1d(np.flatnonzero(n_active > 0), steered)
    distance = np.abs(np.log(n_active[others]) - np.log(max(1.0, float(n_active[steered].mean()))))
    near = others[np.argsort(distance, kind="stable")[: 3 * n_controls]]
    return rng.permutation(near)[:n_controls]
