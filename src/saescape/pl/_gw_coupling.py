from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._docs import doc_params
from saescape._keys import gw_keys
from saescape.get import coupling_df

from ._axes import SMALL, fit_texts, new_axes, show_if_wanted

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

# numbers are written into the cells of tables up to this size
_MAX_ANNOTATED = 12
# inches: the whole that many groups aim at, the smallest and largest cell, a letter
_WIDE, _CELL, _LETTER = 6.0, (0.2, 0.5), 0.07


@doc_params
def gw_coupling(
    adata: AnnData,
    adata_ref: AnnData,
    groupby: str,
    groupby_ref: str,
    *,
    key: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Heat map of where the groups of one modality go in the other.

    The title has the p-value of the coupling and says when it is ambiguous. For labels that the coupling was
    compared with (`obs` of :func:`saescape.tl.gw_map`, the same column on both sides), it also has their balanced
    accuracy and its p-value. Groups without mass are grey.

    Parameters
    ----------
    {adata}
    adata_ref
        The reference of :func:`saescape.tl.gw_map`.
    groupby
        Column of `adata.obs`, in rows.
    groupby_ref
        Column of `adata_ref.obs`, in columns.
    key
        `key_added` of :func:`saescape.tl.gw_map`; None for the default.
    {ax}
    {show}

    Returns
    -------
    The axes. Colors are the share of a row's mass, as from :func:`saescape.get.coupling_df`.

    Raises
    ------
    KeyError
        If the coupling or a column does not exist.

    Examples
    --------
    >>> import warnings
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.paired(60, 60, n_types=2)
    >>> with warnings.catch_warnings(action="ignore"):  # `n_nulls=0` saves time here and warns
    ...     sae.tl.gw_map(adata, adata_ref, use_rep="X_image", n_nulls=0, show_progress_bar=False, device="cpu")
    >>> ax = sae.pl.gw_coupling(adata, adata_ref, "cell_type", "cell_type", show=False)
    """
    import matplotlib as mpl

    df = coupling_df(adata, adata_ref, groupby, groupby_ref, key=key)
    n_rows, n_columns = df.shape
    width, height = (n * float(np.clip(_WIDE / n, *_CELL)) for n in (n_columns, n_rows))
    if ax is None:
        long_row, long_column = (_LETTER * max(len(str(name)) for name in names) for names in (df.index, df.columns))
        # names of columns stand at 45 degrees
        size = (max(3.6, 1.4 + width + long_row), max(2.6, 0.9 + 0.85 * height + 0.7 * long_column))
        ax = new_axes(None, figsize=size)
    values = df.to_numpy()
    # groups without mass go nowhere
    shown = np.ma.masked_where(np.broadcast_to(values.sum(1, keepdims=True) == 0, values.shape), values)
    cmap = mpl.colormaps["viridis"].with_extremes(bad="0.85")
    image = ax.imshow(shown, cmap=cmap, vmin=0, vmax=1, aspect="auto")
    ax.grid(visible=False)
    rotated: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(n_columns), df.columns, parse_math=False, **rotated)
    ax.set_yticks(range(n_rows), df.index, parse_math=False)
    ax.set_xlabel(f"reference {groupby_ref}", parse_math=False)
    ax.set_ylabel(groupby, parse_math=False)
    ax.set_title(_title(adata.uns[gw_keys(key).uns], groupby, groupby_ref), parse_math=False)
    bar = ax.figure.colorbar(image, ax=ax, label="share of mass")
    fit_texts(ax)
    fit_texts(bar.ax)
    if max(n_rows, n_columns) <= _MAX_ANNOTATED:
        _annotate(ax, shown)
    show_if_wanted(show=show)
    return ax


def _annotate(ax: Axes, shown: np.ma.MaskedArray) -> None:
    """Write the shares into their cells, whose size is known once the figure has been laid out."""
    ax.figure.canvas.figure.draw_without_rendering()
    box = ax.get_window_extent()
    width, height = (72 / ax.figure.dpi * n for n in (box.width / shown.shape[1], box.height / shown.shape[0]))
    fontsize = min(SMALL, width / 2.7, height / 1.3)
    for i, j in zip(*np.nonzero(~np.ma.getmaskarray(shown)), strict=True):
        color = "black" if shown[i, j] > 0.6 else "white"
        ax.text(j, i, f"{shown[i, j]:.2f}", ha="center", va="center", fontsize=fontsize, color=color)


def _title(stored: dict, groupby: str, groupby_ref: str) -> str:
    pvalue = float(stored.get("pvalue", np.nan))
    parts = [f"GW loss {float(stored['gw_loss']):.2f}", "p not tested" if np.isnan(pvalue) else f"p = {pvalue:.2g}"]
    if bool(stored.get("ambiguous", False)):
        parts.append("ambiguous")
    title = ", ".join(parts)
    known = stored.get("label_accuracy")
    if known is not None and groupby == groupby_ref and groupby in known.index:
        row = known.loc[groupby]
        title += (
            f"\nbalanced accuracy {row['balanced_accuracy']:.2f} (chance {row['chance']:.2f}, p = {row['pvalue']:.2g})"
        )
    return title
