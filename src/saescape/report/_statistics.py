"""What a report says about each feature, from its codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    import pandas as pd

    from saescape._typing import FloatArray, IntArray

_BINS = 24
_MAX_GROUPS = 12


@dataclass(frozen=True)
class Codes:
    """Codes by column: of each feature its active rows and their values."""

    matrix: sparse.csc_matrix

    @classmethod
    def of(cls, codes: Any) -> Codes:
        """Take over a sparse or dense matrix `(n_obs, n_features)`."""
        matrix = sparse.csc_matrix(codes, dtype=np.float32)
        matrix.eliminate_zeros()
        return cls(matrix)

    @property
    def n_obs(self) -> int:
        return int(self.matrix.shape[0])

    def active(self, feature: int) -> tuple[IntArray, FloatArray]:
        """Rows in which a feature is active, and how much."""
        span = slice(self.matrix.indptr[feature], self.matrix.indptr[feature + 1])
        rows, values = self.matrix.indices[span].astype(np.int64), self.matrix.data[span].astype(np.float64)
        positive = values > 0
        return rows[positive], values[positive]


def histogram(values: FloatArray) -> dict[str, Any]:
    """Counts of positive activations in bins of equal width."""
    if len(values) == 0:
        return {"counts": [], "low": 0.0, "high": 0.0}
    high = float(values.max())
    counts, _ = np.histogram(values, _BINS, range=(0.0, high))
    return {"counts": counts, "low": 0.0, "high": high}


def exemplars(rows: IntArray, values: FloatArray, n: int, groups: IntArray | None, cap: int) -> IntArray:
    """Positions of the most active, at most `cap` of each group; ties in the order of the observations."""
    order = np.lexsort((rows, -values))
    if groups is None:
        return order[:n]
    taken: list[int] = []
    used: dict[int, int] = {}
    for position in order:
        group = int(groups[rows[position]])
        if used.get(group, 0) < cap:
            used[group] = used.get(group, 0) + 1
            taken.append(int(position))
            if len(taken) == n:
                break
    return np.array(taken, dtype=np.int64)


def group_means(rows: IntArray, values: FloatArray, column: pd.Series) -> dict[str, Any]:
    """Mean activation and share of active observations of each group, the highest first."""
    category = column.astype("category")
    codes = category.cat.codes.to_numpy()
    sizes = np.bincount(codes[codes >= 0], minlength=len(category.cat.categories))
    known = codes[rows] >= 0
    total = np.bincount(codes[rows][known], values[known], minlength=len(sizes))
    n_active = np.bincount(codes[rows][known], minlength=len(sizes))
    present = np.flatnonzero(sizes)
    mean = total[present] / sizes[present]
    order = np.argsort(-mean, kind="stable")[:_MAX_GROUPS]
    names = [str(name) for name in category.cat.categories]
    return {
        "name": str(column.name),
        "n_groups": len(present),
        "rows": [
            {"name": names[present[i]], "mean": mean[i], "share": n_active[present[i]] / sizes[present[i]]}
            for i in order
        ],
    }


def nearest(similarity: FloatArray, own: int, names: list[str], n: int = 6) -> list[dict[str, Any]]:
    """The features most similar to one of them."""
    values = np.where(np.arange(len(similarity)) == own, -np.inf, np.nan_to_num(similarity, nan=-np.inf))
    order = np.argsort(-values, kind="stable")[:n]
    return [{"name": names[i], "value": values[i]} for i in order if np.isfinite(values[i]) and values[i] > 0]


def coactivation(matrix: sparse.csc_matrix, features: IntArray) -> FloatArray:
    """Cosine `(len(features), n_features)` between codes; 0 where a feature is never active."""
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(0)).ravel())
    norm[norm == 0] = np.inf
    product = (matrix[:, features].T @ matrix).toarray()
    return product / norm[features][:, None] / norm
