"""What every plot shares: axes to draw on, and scanpy's rule for showing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# points; with larger fonts of a style, as scanpy's, texts would lie over each other
TITLE, TEXT, SMALL = 10.0, 9.0, 8.0


def new_axes(ax: Axes | None, *, figsize: tuple[float, float] | None = None) -> Axes:
    """Return the axes given, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=figsize, layout="constrained")[1]


def show_if_wanted(*, show: bool | None) -> None:
    """Show the current figures when asked to, by the argument or by `scanpy.settings.autoshow`."""
    import matplotlib.pyplot as plt
    import scanpy as sc

    if sc.settings.autoshow if show is None else show:
        plt.show()


def fit_texts(ax: Axes) -> None:
    """Give title, labels, ticks and legend sizes that do not depend on the style in use."""
    ax.title.set_fontsize(TITLE)
    ax.tick_params(labelsize=SMALL)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_fontsize(TEXT)
    legend = ax.get_legend()
    for text in legend.get_texts() if legend is not None else ():
        text.set_fontsize(SMALL)
