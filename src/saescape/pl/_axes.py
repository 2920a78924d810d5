"""What every plot shares: axes to draw on, and scanpy's rule for showing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
