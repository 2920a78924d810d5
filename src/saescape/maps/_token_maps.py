"""Activations of features at every position of some observations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._rows import RowSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import FloatArray, IntArray
    from saescape.models import SparseAutoencoder

# tokens that are encoded at once
_TOKENS = 2**16


def token_maps(
    model: SparseAutoencoder, tokens: Any, grid: tuple[int, int], rows: IntArray, features: IntArray
) -> FloatArray:
    """Maps `(len(rows), h, w)` of one feature per row.

    Parameters
    ----------
    model
        Fitted on these tokens.
    tokens
        `(n_obs, h * w, n_dims)`: whatever :class:`saescape._rows.RowSource` reads.
    grid
        h and w.
    rows, features
        Observation and feature of each map.
    """
    maps = np.empty((len(rows), *grid), dtype=np.float32)
    n_positions = grid[0] * grid[1]
    source = RowSource(tokens, where="the tokens")
    for members in _portions(rows, n_positions):
        unique, own = np.unique(rows[members], return_inverse=True)
        part = source.take(unique)
        codes = model.transform(part.reshape(-1, part.shape[-1])).tocsc()
        for position, observation in zip(members, own, strict=True):
            column = codes[:, int(features[position])].toarray()[:, 0]
            maps[position] = column[observation * n_positions : (observation + 1) * n_positions].reshape(grid)
    return maps


def _portions(rows: IntArray, n_positions: int) -> Iterator[IntArray]:
    """Positions in `rows`, observation by observation, so that each is encoded once."""
    order = np.argsort(rows, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(rows[order]) > 0]))
    size = max(1, _TOKENS // n_positions)
    for first in range(0, len(starts), size):
        stop = starts[first + size] if first + size < len(starts) else len(order)
        yield order[starts[first] : stop]
