"""Nodes, bands and names of a flow diagram."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ._axes import TEXT
from ._colors import DISTINCT, NEGATIVE, NEUTRAL, POSITIVE
from ._sankey_layout import place, stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from ._link_flows import Flows
    from ._sankey_layout import Layout

_HEADERS = ("feature groups", "gene modules", "enriched gene sets")
# distance of lines in units of the font size, and how much wider letters can be on the screen than as outlines
_SPACING, _HINTED = 1.5, 1.1
# shares of the width of the axes: a node, the distance of its name, all names beside the outer nodes
_NODE, _APART, _NAMES = 0.02, 0.008, 0.6
# of the font before names are cut
_SMALLEST = 0.7
_DARK = "0.35"


def figsize(flows: Flows) -> tuple[float, float]:
    """Inches that leave room for bands and names."""
    names = sum(_widest(_labels(flows, i, np.inf, TEXT), TEXT) for i in (0, len(flows.flows))) / 72
    between = 1.7 + 1.5 * len(flows.flows)
    return max(between + names, names / _NAMES), max(3.4, 1.2 + 0.34 * max(map(len, flows.names)))


def draw_flows(ax: Axes, flows: Flows, *, by_sign: bool) -> None:
    """Draw into axes whose title is there already; colors by the first column, or by sign."""
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.set_axis_off()
    # lengths in points are known once the figure has been laid out
    ax.figure.canvas.figure.draw_without_rendering()
    box = ax.get_window_extent()
    width, height = (72 / ax.figure.dpi * size for size in (box.width, box.height))
    line = min(TEXT * _SPACING / height, 1 / (1 + max(map(len, flows.names))))
    layout = place(flows.sizes, flows.flows, line)
    fontsize = line * height / _SPACING

    last = len(flows.flows)
    # names become smaller before they are cut; on the left they may take what those on the right leave
    plain, plain_left = (_widest(_labels(flows, i, np.inf, fontsize, described=False), fontsize) for i in (last, 0))
    smaller = float(np.clip(_NAMES * width / (plain + plain_left), _SMALLEST, 1.0))
    fontsize, plain = fontsize * smaller, plain * smaller
    labels = [_labels(flows, 0, max(_NAMES * width - plain, _NAMES / 2 * width), fontsize)]
    headers = _HEADERS[: last + 1]
    header_font = TEXT * min(1.0, _NAMES / 2 * width / _widest(headers, TEXT))
    taken = max(_widest(labels[0], fontsize) + _APART * width, _widest(headers[:1], header_font) - _NODE * width)
    left_over = max(_NAMES * width - taken, _NAMES / 2 * width)
    last_labels = _labels(flows, last, left_over, fontsize)
    taken_last = max(
        _widest(last_labels, fontsize) + _APART * width, _widest(headers[-1:], header_font) - _NODE * width
    )
    left = np.linspace(taken / width, 1 - taken_last / width - _NODE, last + 1)
    between = (left[1] - left[0] - _NODE) * width
    labels += [_labels(flows, i, 0.7 * between, fontsize) for i in range(1, last)] + [last_labels]
    if last > 1:
        header_font *= min(1.0, 0.9 * between / (_widest(headers[1:-1], header_font) / 2))
    for i in range(last):
        _draw_bands(ax, flows, layout, i, (left[i] + _NODE, left[i + 1]), by_sign=by_sign)
    for i, x in enumerate(left):
        _draw_nodes(ax, flows, layout, i, x, labels[i], fontsize, by_sign=by_sign)
        header_at, side = {0: (x + _NODE, "right"), last: (x, "left")}.get(i, (x + _NODE / 2, "center"))
        style: dict[str, Any] = {"xytext": (0, 6), "textcoords": "offset points", "ha": side, "va": "bottom"}
        ax.annotate(headers[i], (header_at, 1), fontsize=header_font, **style)
    if by_sign:
        from matplotlib.patches import Patch

        handles = [Patch(color=POSITIVE, label="positive link"), Patch(color=NEGATIVE, label="negative link")]
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False, fontsize=TEXT)


def _labels(flows: Flows, column: int, room: float, fontsize: float, *, described: bool = True) -> list[str]:
    """Names with their sizes, no wider than `room` points."""
    sizes = [f" ({_number(size)})" for size in flows.sizes[column]]
    names = flows.names[column]
    if described and column == 1 and len(flows.names) == 2:
        longer = [f"{name}: {genes}" for name, genes in zip(names, flows.top_genes, strict=True)]
        if _widest([name + size for name, size in zip(longer, sizes, strict=True)], fontsize) <= room:
            names = longer
    return [_shortened(name, size, room, fontsize) for name, size in zip(names, sizes, strict=True)]


def _shortened(name: str, size: str, room: float, fontsize: float) -> str:
    label, kept = name + size, len(name)
    while kept > 1 and (width := _widest([label], fontsize)) > room:
        # letters are about as wide as they are on average; one less each time to end
        kept = max(min(kept - 1, int(len(label) * room / width) - len(size)), 1)
        label = f"{name[:kept]}…{size}"
    return label


def _widest(labels: Sequence[str], fontsize: float) -> float:
    """Width in points of the widest label."""
    return _HINTED * fontsize * max(_width(label) for label in labels)


@lru_cache(maxsize=1024)
def _width(label: str) -> float:
    from matplotlib.textpath import TextPath

    # labels are no formulas
    return TextPath((0, 0), label.replace("$", "S"), size=1).get_extents().x1


def _number(size: float) -> str:
    return f"{size:,.0f}" if size >= 100 or size == round(size) else f"{size:.1f}"


def _color(flows: Flows, column: int, node: int) -> str:
    return NEUTRAL if column or flows.names[0][node] == "none" else DISTINCT[node % len(DISTINCT)]


def _draw_bands(
    ax: Axes, flows: Flows, layout: Layout, column: int, ends: tuple[float, float], *, by_sign: bool
) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    flow = flows.flows[column] if by_sign else flows.flows[column].sum(2, keepdims=True)
    start, end = stack(flow, layout, column)
    (a, b), middle = ends, sum(ends) / 2
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    for source, target, kind in zip(*np.nonzero(flow), strict=True):
        y, z = start[source, target, kind], end[source, target, kind]
        width = flow[source, target, kind] * layout.scale
        upper = [(a, y), (middle, y), (middle, z), (b, z)]
        lower = [(x, height - width) for x, height in upper[::-1]]
        face = (NEGATIVE, POSITIVE)[kind] if by_sign else _color(flows, column, source)
        band = PathPatch(Path([*upper, *lower, (a, y)], codes), facecolor=face, alpha=0.5, linewidth=0)
        band.set_label(f"{flows.names[column][source]} → {flows.names[column + 1][target]}")
        ax.add_patch(band)


def _draw_nodes(
    ax: Axes,
    flows: Flows,
    layout: Layout,
    column: int,
    x: float,
    labels: Sequence[str],
    fontsize: float,
    *,
    by_sign: bool,
) -> None:
    from matplotlib.patches import Rectangle

    last = len(flows.flows)
    for node, label in enumerate(labels):
        height = layout.height[column][node]
        bottom = layout.top[column][node] - height
        face = _DARK if by_sign or column else _color(flows, column, node)
        ax.add_patch(Rectangle((x, bottom), _NODE, height, facecolor=face, label=flows.names[column][node]))
        place_at, side = (x + _NODE + _APART, "left") if column else (x - _APART, "right")
        style: dict[str, Any] = {"ha": side, "va": "center", "fontsize": fontsize, "parse_math": False}
        if 0 < column < last:
            # it lies on the bands
            style["bbox"] = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.6}
        ax.text(place_at, bottom + height / 2, label, **style)
