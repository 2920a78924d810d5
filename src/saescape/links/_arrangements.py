"""Unrelated arrangements of given cells: each cell keeps its genes or features and, nearly, its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape.transport import _nulls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray


def rearranged(views: Sequence[FloatArray], rng: np.random.Generator) -> list[FloatArray]:
    """Map the cells by a random smooth function, all views `(n, d_v)` alike, and keep their order.

    As :func:`saescape.transport._nulls.smooth_images`, without drawing the density anew: row i of the result is still
    cell i, so that what was measured on the cell can be carried over by a coupling with the result.
    """
    together, seed = rng.uniform(*_nulls._TOGETHER), int(rng.integers(2**63 - 1))
    images = []
    for view in views:
        x = _nulls._centred(view)
        length = _nulls._length_scale(x, together)
        # one state of the generator: the same function for all views
        images.append(_nulls._smooth_image(x, x, length, np.random.default_rng(seed)))
    return images
