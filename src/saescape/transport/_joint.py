"""Weak supervision: the cost of pairs of cells from columns that both sides have, as two factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray, IntArray


@dataclass(frozen=True)
class JointCost:
    """Factors `(n, k)`, `(m, k)` of the cost ``x @ y.T``, whose mean over all pairs is zero."""

    x: FloatArray
    y: FloatArray

    def take(self, rows: IntArray | slice, columns: IntArray | slice) -> JointCost:
        """The cost of some cells of each side."""
        return JointCost(self.x[rows], self.y[columns])


def joint_cost(columns: Sequence[tuple[FloatArray, FloatArray]]) -> JointCost:
    """Mean of the costs of several columns, each given by its values on both sides, NaN where missing.

    One-dimensional values are numbers (squared difference), two-dimensional ones labels, one-hot, empty where missing
    (0 if equal, else 1). Each cost is centred and has SD one over the pairs of cells that both have a value; all other
    pairs cost nothing, so that they are neither attracted nor repelled.
    """
    factors = [_numbers(x, y) if x.ndim == 1 else _labels(x, y) for x, y in columns]
    x, y = (np.concatenate(side, 1) for side in zip(*factors, strict=True))
    return JointCost((x / len(columns)).astype(np.float32), y.astype(np.float32))


def _labels(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Factors of ``(1 - same - mean) / SD`` with ``same = x @ y.T``."""
    # a label that the other side lacks cannot be matched: it says nothing
    shared = (x.sum(0) > 0) & (y.sum(0) > 0)
    x, y = x[:, shared].astype(np.float64), y[:, shared].astype(np.float64)
    known_x, known_y = x.sum(1), y.sum(1)
    same = float((x.sum(0) / known_x.sum()) @ (y.sum(0) / known_y.sum()))
    sd = np.sqrt(same * (1 - same))
    return np.column_stack([known_x * same, -x]) / sd, np.column_stack([known_y, y])


def _numbers(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Factors of ``((x_i - y_j)^2 - mean) / SD``."""
    known_x, known_y = np.isfinite(x), np.isfinite(y)
    values = np.concatenate([x[known_x], y[known_y]]).astype(np.float64)
    z_x, z_y = (
        np.where(known, (side - values.mean()) / values.std(), 0.0) for side, known in ((x, known_x), (y, known_y))
    )
    # moments of the squared difference of independent draws from the two sides
    m, k = ([np.mean(z[known] ** power) for power in range(5)] for z, known in ((z_x, known_x), (z_y, known_y)))
    mean = m[2] - 2 * m[1] * k[1] + k[2]
    second = m[4] - 4 * m[3] * k[1] + 6 * m[2] * k[2] - 4 * m[1] * k[3] + k[4]
    sd = np.sqrt(max(second - mean**2, 1e-12))
    left = np.column_stack([known_x * (z_x**2 - mean), known_x, -2 * z_x])
    return left / sd, np.column_stack([known_y, z_y**2, z_y])
