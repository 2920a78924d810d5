"""Where the nodes and bands of a flow diagram lie; heights are shares of the axes' height."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray

# shares of the height: the gap between nodes, and of all gaps together
_GAP, _GAPS = 0.02, 0.2
_STEPS = 60


@dataclass(frozen=True)
class Layout:
    """`top` and `height` of the nodes of each column, and the height of one unit of flow."""

    top: list[FloatArray]
    height: list[FloatArray]
    scale: float


def place(columns: Sequence[FloatArray], flows: Sequence[FloatArray], line: float) -> Layout:
    """Stack the nodes of each column, of these sizes, on one scale; `flows` go from each column to the next.

    The centres of neighbors are at least a `line` apart, so that their labels never overlap; `line` is at most the
    reciprocal of the largest number of nodes. Columns with room to spare lie beside the nodes that they are reached
    from.
    """
    low, high = 0.0, 1.0 / max(float(sizes.sum()) for sizes in columns)
    # the room needed grows with the scale
    for _ in range(_STEPS):
        middle = (low + high) / 2
        fits = all(_starts(sizes * middle, line)[1] <= 1 for sizes in columns)
        low, high = (middle, high) if fits else (low, middle)
    heights = [sizes * low for sizes in columns]
    tops: list[FloatArray] = []
    for i, height in enumerate(heights):
        starts, total = _starts(height, line)
        shift = 0.0
        if i:
            per_source, per_target = flows[i - 1].sum((1, 2)), flows[i - 1].sum((0, 2))
            wanted = per_source @ (tops[-1] - heights[i - 1] / 2) / per_source.sum()
            shift = wanted - per_target @ (0.5 + total / 2 - starts - height / 2) / per_target.sum()
        room = (1 - total) / 2
        tops.append(0.5 + total / 2 - starts + np.clip(shift, -room, room))
    return Layout(tops, heights, low)


def _starts(height: FloatArray, line: float) -> tuple[FloatArray, float]:
    """Distance from the top at which each node starts, and that at which the column ends."""
    least = min(_GAP, _GAPS / len(height), (1 - line * len(height)) / len(height))
    gap = np.maximum(max(least, 0.0), line - (height[:-1] + height[1:]) / 2)
    first, last = (max(0.0, (line - float(height[i])) / 2) for i in (0, -1))
    starts = first + np.concatenate([[0.0], np.cumsum(height[:-1] + gap)])
    return starts, float(starts[-1] + height[-1] + last)


def stack(flows: FloatArray, layout: Layout, column: int) -> tuple[FloatArray, FloatArray]:
    """Upper edges of the bands `(n_sources, n_targets, n_kinds)` where they leave `column` and reach the next one.

    Bands leave in the order of their targets and arrive in the order of their sources, so that none cross at a node.
    """
    size = flows * layout.scale
    leaving = size.reshape(len(size), -1)
    starts = layout.top[column][:, None] - (np.cumsum(leaving, 1) - leaving)
    arriving = size.transpose(1, 0, 2).reshape(size.shape[1], -1)
    ends = layout.top[column + 1][:, None] - (np.cumsum(arriving, 1) - arriving)
    return starts.reshape(size.shape), ends.reshape(size.shape[1], size.shape[0], size.shape[2]).transpose(1, 0, 2)
