from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape._docs import doc_params
from saescape._keys import sae_sweep_key
from saescape._validate import check_adata, require_key

from ._axes import show_if_wanted

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes


@doc_params
def sae_sweep(adata: AnnData, *, key: str | None = None, ax: Axes | None = None, show: bool | None = None) -> Axes:
    """Plot error and stability against sparsity, for every width of a sweep.

    First panel: agreement of seeds against the number of active features, one line per width, with what chance gives
    (dashed, in the same colour): the larger of `stability_random` and `stability_null`. Second panel, only in a figure
    of its own (`ax=None`): fraction of variance unexplained of held-out data, with twice its standard deviation over
    seeds. Among the settings that are about as stable as the best, and clearly above chance, take the one with the
    smallest error.

    Parameters
    ----------
    {adata}
    key
        `key_added` of :func:`saescape.tl.sae_sweep`; None for the default.
    ax
        Axes for the first panel; a new figure with both panels when None.
    {show}

    Returns
    -------
    The axes of the first panel.

    Raises
    ------
    KeyError
        If there is no sweep.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_sweep(
    ...     adata, k=[2, 4], n_features=32, use_rep="X_pca", n_seeds=2, max_epochs=20, show_progress_bar=False
    ... )
    >>> sae.pl.sae_sweep(adata, show=False).get_ylabel()
    'stability over seeds (cosine)'
    """
    check_adata(adata)
    name = sae_sweep_key(key)
    stored = require_key(adata, "uns", name, argument=None if key is None else "key")
    if not hasattr(stored, "keys") or "results" not in stored:
        msg = f"`adata.uns[{name!r}]` holds no sweep; run `sae.tl.sae_sweep(adata)` first to create it."
        raise KeyError(msg)
    results: pd.DataFrame = stored["results"]
    error_ax = None
    if ax is None:
        import matplotlib.pyplot as plt

        ax, error_ax = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")[1]
    _draw_stability(ax, results)
    if error_ax is not None:
        _draw_error(error_ax, results)
    show_if_wanted(show=show)
    return ax


def _draw_stability(ax: Axes, results: pd.DataFrame) -> None:
    # NaN without null fits
    chance = np.fmax(results["stability_null"], results["stability_random"])
    for color, width, rows in _by_width(results):
        ax.plot(rows["l0"], rows["stability"], "o-", color=color, label=f"{width} features")
        ax.plot(rows["l0"], chance[rows.index], ".--", color=color, linewidth=1.2, alpha=0.7)
    ax.plot([], [], ".--", color="0.4", linewidth=1.2, label="chance")
    ax.set(ylabel="stability over seeds (cosine)", title="what is found again", ylim=(0, 1.02))
    _finish(ax, results)


def _draw_error(ax: Axes, results: pd.DataFrame) -> None:
    for color, width, rows in _by_width(results):
        spread = 2 * rows["fvu_sd"]
        ax.errorbar(rows["l0"], rows["fvu"], yerr=spread, fmt="o-", color=color, capsize=3, label=f"{width} features")
    ax.set(ylabel="FVU (held-out data)", title="error")
    ax.set_ylim(0, min(1.05, 1.08 * float((results["fvu"] + 2 * results["fvu_sd"]).max())))
    _finish(ax, results)


def _by_width(results: pd.DataFrame) -> list[tuple[str, int, pd.DataFrame]]:
    widths = np.unique(results["n_features"])
    tables = [results[results["n_features"] == width].sort_values("l0") for width in widths]
    return [(f"C{i}", int(width), table) for i, (width, table) in enumerate(zip(widths, tables, strict=True))]


def _finish(ax: Axes, results: pd.DataFrame) -> None:
    from matplotlib.ticker import NullLocator

    ax.set_xscale("log", base=2)
    ticks = np.unique(results["k"])
    # what was asked for; where a line's marks lie says what was reached
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("active features per row (L0)")
    # below the axes: it would cover one of the lines
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, handlelength=2.5, frameon=False)
