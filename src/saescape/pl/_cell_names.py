"""Names around a heat map of features and genes, as large as its cells allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._axes import TITLE
from ._colors import DISTINCT, NEUTRAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.collections import PathCollection

# points; names that would be smaller than the least are left out
_LARGEST_FONT, _LEAST_FONT = 9.0, 3.5
_MAX_ROUNDS = 5
_BAR = 7.0
# width of a letter and share of a cell that a name may take, in units of the font size and of the cell
_LETTER, _SHARE = 0.66, 0.85
_DOT = 0.22


def name_cells(
    ax: Axes,
    dots: PathCollection,
    title: str,
    features: Sequence[str],
    genes: Sequence[str],
    module: Sequence[str | None],
    modules: Sequence[str],
) -> None:
    """Label rows and columns, draw the bar of modules, put the title above and give the dots their size."""
    bar: list[Artist] = []
    width = height = np.inf
    # the layout makes room for names, which makes the cells smaller: what fits shows when nothing changes any more
    for _ in range(_MAX_ROUNDS):
        ax.figure.canvas.figure.draw_without_rendering()
        box = ax.get_window_extent()
        wide, high = (72 / ax.figure.dpi * size for size in (box.width / len(genes), box.height / len(features)))
        if wide > 0.97 * width and high > 0.97 * height:
            break
        width, height = min(width, wide), min(height, high)
        _label(ax.xaxis, genes, width, 90, "genes")
        _label(ax.yaxis, features, height, 0, "features")
        for artist in bar:
            artist.remove()
        bar, above = _draw_modules(ax, module, modules, width)
        if len(title) * _LETTER * TITLE > 1.4 * width * len(genes):
            title = title.replace("), ", ")\n")
        ax.set_title(title, fontsize=TITLE, pad=6 + above)
    dots.set_sizes([(_DOT * min(width, height)) ** 2])


def _label(axis: Axis, names: Sequence[str], cell: float, rotation: float, kind: str) -> None:
    fontsize = min(_LARGEST_FONT, _SHARE * cell)
    if fontsize < _LEAST_FONT:
        axis.set_ticks([])
        axis.set_label_text(f"{len(names)} {kind}")
        return
    # names are no formulas
    axis.set_ticks(range(len(names)), list(names), rotation=rotation, fontsize=fontsize, parse_math=False)
    axis.set_tick_params(length=2, pad=2)
    axis.set_label_text("")


def _draw_modules(
    ax: Axes, module: Sequence[str | None], modules: Sequence[str], cell: float
) -> tuple[list[Artist], float]:
    """A bar with the name of each run of genes of the same module; also returns its height in points."""
    from matplotlib.lines import Line2D
    from matplotlib.transforms import ScaledTranslation

    if all(name is None for name in module):
        return [], 0.0
    starts = [0, *(i for i in range(1, len(module)) if module[i] != module[i - 1]), len(module)]
    runs = list(zip(starts[:-1], starts[1:], strict=True))
    names = [module[first] or "none" for first, _ in runs]
    fontsize = min(8.0, max(_SHARE * cell, _LEAST_FONT))
    room = [(end - first) * cell for first, end in runs]
    fits = [_LETTER * fontsize * len(name) < width for name, width in zip(names, room, strict=True)]
    # names lie flat where those of all modules do fit, and stand otherwise; that of no module may be missing
    flat = all(fit or module[first] is None for fit, (first, _) in zip(fits, runs, strict=True))
    above = ax.get_xaxis_transform()
    lifted = above + ScaledTranslation(0, (2 + _BAR / 2) / 72, ax.figure.dpi_scale_trans)
    artists: list[Artist] = []
    for name, fit, (first, end) in zip(names, fits, runs, strict=True):
        own = module[first]
        color = NEUTRAL if own is None else DISTINCT[modules.index(own) % len(DISTINCT)]
        line = Line2D([first - 0.5, end - 0.5], [1, 1], linewidth=_BAR, color=color, transform=lifted, label=name)
        line.set(solid_capstyle="butt", clip_on=False)
        artists.append(ax.add_line(line))
        if own is None and not fit:
            continue
        text = ax.annotate(
            name,
            ((first + end - 1) / 2, 1),
            xytext=(0, _BAR + 4),
            xycoords=above,
            textcoords="offset points",
            ha="center",
            va="bottom",
            rotation=0 if flat else 90,
            fontsize=fontsize,
            parse_math=False,
            annotation_clip=False,
        )
        artists.append(text)
    lines = 1.2 if flat else _LETTER * max(len(name) for name in names)
    return artists, _BAR + 4 + fontsize * lines
