from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from saescape._docs import doc_params
from saescape._validate import check_choice, check_integer, check_real
from saescape.links._stored import positions, stored_links

from ._axes import fit_texts, new_axes, show_if_wanted
from ._cell_names import name_cells
from ._links_order import order_features, order_genes, strongest_per_module

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

    from saescape._typing import BoolArray, FloatArray, IntArray
    from saescape.links._stored import StoredLinks

_LABELS = {"correlation": "correlation", "zscore": "z-score (against nulls)"}
# inches: size of a cell for few and for many of them, the whole a heat map aims at, room for names
_LARGEST, _SMALLEST, _WIDE, _HIGH, _LONGEST = 0.3, 0.11, 5.0, 4.2, 2.5
_FAINT = 0.3


@doc_params
def gw_links(
    adata: AnnData,
    *,
    key: str | None = None,
    features: str | Sequence[str] | None = None,
    genes: str | Sequence[str] | None = None,
    n_top: int = 40,
    max_qvalue: float = 0.05,
    value: Literal["correlation", "zscore"] = "correlation",
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Heat map of the links of features to genes.

    Significant links have a dot, all others are faint; missing values are grey. The bar on top has the gene modules.
    The title counts the significant links of the whole table. It says when there are none: what is seen are then
    merely the largest values.

    Parameters
    ----------
    {adata}
    key
        `key_added` of :func:`saescape.tl.gw_links`; None for the default.
    features
        Features to show, in this order. None takes up to `n_top` with the strongest links, those of the same module
        together and alike ones side by side (hierarchical clustering).
    genes
        Genes to show, in this order. None takes up to `n_top` with the strongest links, the modules taking turns, and
        orders them in the same way.
    n_top
        Largest number of features and of genes that are chosen here. A feature or gene without a significant link is
        not chosen, unless nothing is significant.
    max_qvalue
        Largest false discovery rate of a significant link.
    value
        What the colors show: the correlation or its z-score against the nulls. The strongest links are always those
        with the largest absolute z-score (correlation if nothing was tested).
    {ax}
    {show}

    Returns
    -------
    The axes. The image has the values in the order drawn, features in rows.

    Raises
    ------
    KeyError
        If there are no links, or none of a feature or gene that was asked for.
    ValueError
        For values out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.paired(60, 60, n_types=2)
    >>> qvalue = np.full((2, 3), 0.5)
    >>> qvalue[0, 1] = 0.01
    >>> adata.uns["gw_links"] = {  # as `sae.tl.gw_links` makes it
    ...     "correlation": np.array([[0.1, 0.8, 0.2], [-0.3, 0.0, 0.1]]),
    ...     "zscore": np.array([[0.5, 4.0, 1.0], [-1.5, 0.0, 0.5]]),
    ...     "qvalue": qvalue,
    ...     "features": ["sae_0", "sae_1"],
    ...     "genes": pd.DataFrame(index=["CD3E", "CD79A", "NKG7"]),
    ... }
    >>> sae.pl.gw_links(adata, show=False).get_title()
    '1 significant link (q ≤ 0.05), global p not tested'
    """
    links = stored_links(adata, key)
    check_choice("value", value, _LABELS)
    n_top = check_integer("n_top", n_top)
    max_qvalue = check_real("max_qvalue", max_qvalue, 0.0, 1.0, open_low=False)
    significant = links.significant(max_qvalue)
    values = getattr(links, value)
    rows, columns = _chosen(links, significant, np.nan_to_num(values), features, genes, n_top)

    if ax is None:
        width = _extent(len(columns), _WIDE) + _room(links.features[rows])
        height = _extent(len(rows), _HIGH) + _room(links.genes[columns])
        ax = new_axes(None, figsize=(max(width + 1.6, 4.6), max(height + 1.3, 2.6)))
    dots = _draw(ax, values[np.ix_(rows, columns)], significant[np.ix_(rows, columns)], _LABELS[value])
    module = [links.module[i] for i in columns]
    name_cells(ax, dots, links.verdict(max_qvalue), links.features[rows], links.genes[columns], module, links.modules)
    show_if_wanted(show=show)
    return ax


def _extent(n: int, total: float) -> float:
    return n * float(np.clip(total / n, _SMALLEST, _LARGEST))


def _room(names: Sequence[str]) -> float:
    return min(0.075 * max(len(str(name)) for name in names), _LONGEST)


def _chosen(
    links: StoredLinks,
    significant: BoolArray,
    values: FloatArray,
    features: str | Sequence[str] | None,
    genes: str | Sequence[str] | None,
    n_top: int,
) -> tuple[IntArray, IntArray]:
    rows = None if features is None else positions("features", features, links.features)
    columns = None if genes is None else positions("genes", genes, links.genes)
    part = np.ix_(
        np.arange(len(links.features)) if rows is None else rows,
        np.arange(len(links.genes)) if columns is None else columns,
    )
    # the least number keeps links of no strength among the significant ones; without any, all are candidates
    strength = np.where(significant[part], np.fmax(links.strength[part], np.finfo(float).tiny), 0.0)
    if not strength.any():
        strength = np.fmax(links.strength[part], np.finfo(float).tiny)
    if columns is None:
        picked = strongest_per_module(strength.max(0), links.module, n_top)
        strength = strength[:, picked]
        module = [links.module[i] for i in picked]
        columns = picked[order_genes(values[np.ix_(part[0].ravel(), picked)], module, links.modules)]
    if rows is None:
        picked = strongest_per_module(strength.max(1), [None] * len(strength), n_top)
        module = [links.module[i] for i in columns]
        rows = picked[order_features(values[np.ix_(picked, columns)], module, links.modules)]
    return rows, columns


def _draw(ax: Axes, values: FloatArray, significant: BoolArray, label: str) -> PathCollection:
    import matplotlib as mpl

    reach = np.max(np.abs(values), initial=0.0, where=np.isfinite(values)) or 1.0
    image = ax.imshow(
        np.ma.masked_invalid(values),
        cmap=mpl.colormaps["RdBu_r"].with_extremes(bad="0.85"),
        vmin=-reach,
        vmax=reach,
        alpha=np.where(significant | np.isnan(values), 1.0, _FAINT),
        aspect="auto",
        interpolation="nearest",
    )
    y, x = np.nonzero(significant)
    # white on the dark ends of the colors, black in between
    color = np.where(np.abs(np.nan_to_num(values[y, x])) > 0.6 * reach, "white", "black")
    dots = ax.scatter(x, y, c=color, linewidths=0, label="significant")
    ax.set(xlim=(-0.5, values.shape[1] - 0.5), ylim=(values.shape[0] - 0.5, -0.5))
    ax.grid(visible=False)
    fit_texts(ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8, aspect=18, pad=0.02).ax)
    return dots
