"""Where the cells of a field lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray

MARGIN = 32.0
_SPACING = 56.0
_TRIES = 40


def cell_centres(n_cells: int, size: int, rng: np.random.Generator) -> FloatArray:
    """Up to `n_cells` points `(n, 2)` (row, column), loosely clumped, at least 56 pixels apart, off the border.

    At least one point; fewer than asked for when no more fit.
    """
    low, high = MARGIN, size - MARGIN
    found: list[FloatArray] = [rng.uniform(low, high, 2)]
    clump = rng.uniform(low, high, (max(1, n_cells // 5), 2))
    for _ in range(n_cells * _TRIES):
        if len(found) == n_cells:
            break
        if rng.random() < 0.6:
            point = clump[rng.integers(len(clump))] + rng.normal(0, 1.4 * _SPACING, 2)
        else:
            point = rng.uniform(low, high, 2)
        inside = (point >= low).all() and (point <= high).all()
        if inside and min(np.hypot(*(point - other)) for other in found) >= _SPACING:
            found.append(point)
    return np.array(found)
