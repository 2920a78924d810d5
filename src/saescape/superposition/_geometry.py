"""Geometry of a dictionary alone: cosines, dimensionality, frames; with random and lower-bound references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse, special

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

DUPLICATE_COSINE = 0.999
_TILE_ENTRIES = 2**22


@dataclass(frozen=True)
class Geometry:
    """Per feature: dimensionality, largest absolute cosine and with whom, group of duplicates; and pair averages.

    `babel` has, for each number of features asked for, the largest sum of absolute cosines of one feature with so many
    others (Tropp 2004).
    """

    dimensionality: FloatArray
    max_cosine: FloatArray
    nearest: IntArray
    duplicate_group: IntArray
    mean_abs_cosine: float
    rms_cosine: float
    frame_potential: float
    babel: tuple[float, ...] = ()

    @property
    def duplicate(self) -> np.ndarray:
        """Whether a feature shares its direction with another one."""
        return np.bincount(self.duplicate_group)[self.duplicate_group] > 1


def dictionary_geometry(unit: FloatArray, babel_sizes: tuple[int, ...] = ()) -> Geometry:
    """Measure unit rows `(n_features, n_dims)` by tiles.

    Parameters
    ----------
    babel_sizes
        Numbers of other features for the Babel function.
    """
    n = len(unit)
    babel = np.zeros(len(babel_sizes))
    squares, largest, nearest = np.zeros(n), np.zeros(n), np.arange(n)
    absolute = 0.0
    left, right = [], []
    size = max(1, _TILE_ENTRIES // n)
    for start in range(0, n, size):
        cosines = (unit[start : start + size] @ unit.T).astype(np.float64)
        own = np.arange(len(cosines))
        cosines[own, start + own] = 0.0
        rows, cols = np.nonzero(cosines > DUPLICATE_COSINE)
        left.append(rows + start)
        right.append(cols)
        np.abs(cosines, out=cosines)
        absolute += float(cosines.sum())
        block = slice(start, start + len(cosines))
        squares[block] = np.einsum("ij,ij->i", cosines, cosines)
        nearest[block] = cosines.argmax(1)
        largest[block] = cosines[own, nearest[block]]
        for number, sums in enumerate(_largest_sums(cosines, babel_sizes)):
            babel[number] = max(babel[number], sums)
    rows, cols = np.concatenate(left), np.concatenate(right)
    graph = sparse.coo_matrix((np.ones(len(rows)), (rows, cols)), shape=(n, n))
    groups = sparse.csgraph.connected_components(graph, directed=False)[1]
    pairs = max(1, n * (n - 1))
    return Geometry(
        dimensionality=1.0 / (1.0 + squares),
        max_cosine=np.minimum(largest, 1.0),
        nearest=nearest,
        duplicate_group=groups,
        mean_abs_cosine=absolute / pairs,
        rms_cosine=float(np.sqrt(squares.sum() / pairs)),
        frame_potential=float(n + squares.sum()),
        babel=tuple(babel.tolist()),
    )


def _largest_sums(cosines: FloatArray, sizes: tuple[int, ...]) -> list[float]:
    """Largest sum over a row's greatest entries, for each number of them; changes the order within rows."""
    n = cosines.shape[1]
    if not sizes or max(sizes) == 0:
        return [0.0] * len(sizes)
    most = min(max(sizes), n)
    if most < n:
        cosines.partition(n - most, axis=1)
    top = np.sort(cosines[:, n - most :], axis=1)[:, ::-1].cumsum(1)
    return [float(top[:, min(size, most) - 1].max()) if size else 0.0 for size in sizes]


def merge_duplicates(
    scaled: sparse.csr_matrix, unit: FloatArray, groups: IntArray
) -> tuple[sparse.csr_matrix, FloatArray]:
    """Add up the codes of features that share a direction; the direction is their mean."""
    n_groups = int(groups.max()) + 1
    members = sparse.csr_matrix((np.ones(len(groups)), (np.arange(len(groups)), groups)), shape=(len(groups), n_groups))
    directions = members.T @ unit.astype(np.float64)
    norms = np.linalg.norm(directions, axis=1, keepdims=True)
    return sparse.csr_matrix(scaled @ members), (directions / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def welch_bound(n_features: int, n_dims: int) -> float:
    """Smallest possible largest absolute cosine of `n_features` unit vectors (0 when they can be orthogonal)."""
    if n_features <= n_dims:
        return 0.0
    return float(np.sqrt((n_features - n_dims) / (n_dims * (n_features - 1))))


def random_abs_cosine(n_dims: int) -> float:
    """Mean absolute cosine of two uniform directions, about ``sqrt(2 / (pi d))``."""
    return float(np.exp(special.gammaln(n_dims / 2) - special.gammaln((n_dims + 1) / 2)) / np.sqrt(np.pi))
