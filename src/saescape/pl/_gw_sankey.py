from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from saescape._docs import doc_params
from saescape._validate import check_choice, check_integer, check_real
from saescape.links._stored import stored_links

from ._axes import TITLE, new_axes, show_if_wanted
from ._draw_flows import draw_flows, figsize
from ._link_flows import count_flows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from matplotlib.axes import Axes


@doc_params
def gw_sankey(
    adata: AnnData,
    groupby: str | Mapping[str, str] | None = None,
    *,
    key: str | None = None,
    max_qvalue: float = 0.05,
    weight: Literal["links", "zscore"] = "links",
    color: Literal["source", "sign"] = "source",
    n_top_sets: int = 3,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Flow of significant links from groups of features to gene modules, and on to gene sets.

    The width of a band is the number of significant links (or the sum of their absolute z-scores) of the features of
    a group with the genes of a module. From modules to gene sets it is the part of these whose gene is in the set; a
    gene in several of the sets drawn for its module is shared equally among them. Groups and modules are described by
    the features and genes with most links, and behind each name stands its width. Without a significant link, the
    title says so and there is no band.

    Parameters
    ----------
    {adata}
    groupby
        Groups of features: a column of the `features` table of the :func:`saescape.tl.sae_fit` that was linked, or
        a group by feature name. None makes groups by hierarchical clustering of the links, as many as there are
        modules (2 to 8), named by the features with most links. Features without a group are `"none"`.
    key
        `key_added` of :func:`saescape.tl.gw_links`; None for the default.
    max_qvalue
        Largest false discovery rate of a significant link, and of an enriched gene set.
    weight
        What widths are: the number of links, or the sum of their absolute z-scores.
    color
        Color bands by the group that they come from, or by the sign of their links (red: positive).
    n_top_sets
        Gene sets with the smallest q-value to draw for each module, if :func:`saescape.tl.gw_links` was given any; 0
        for none.
    {ax}
    {show}

    Returns
    -------
    The axes. Bands are patches labelled `"source → target"`.

    Raises
    ------
    KeyError
        If there are no links, or no column `groupby`.
    ValueError
        For values out of range, or if `groupby` has no group for any feature or more than 30.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.paired(60, 60, n_types=2)
    >>> adata.uns["gw_links"] = {  # as `sae.tl.gw_links` makes it
    ...     "correlation": np.array([[0.7, 0.8, 0.2], [-0.3, 0.0, 0.6]]),
    ...     "zscore": np.array([[3.5, 4.0, 1.0], [-1.5, 0.0, 3.1]]),
    ...     "qvalue": np.array([[0.01, 0.01, 0.5], [0.4, 0.9, 0.02]]),
    ...     "features": ["sae_0", "sae_1"],
    ...     "genes": pd.DataFrame({"module": ["module_0", "module_0", "module_1"]}, index=["CD19", "CD79A", "NKG7"]),
    ... }
    >>> ax = sae.pl.gw_sankey(adata, {"sae_0": "round", "sae_1": "granular"}, show=False)
    >>> sorted(text.get_text() for text in ax.texts)[-2:]
    ['module_1: NKG7 (1)', 'round (2)']
    """
    links = stored_links(adata, key)
    max_qvalue = check_real("max_qvalue", max_qvalue, 0.0, 1.0, open_low=False)
    check_choice("weight", weight, ["links", "zscore"])
    check_choice("color", color, ["source", "sign"])
    n_top_sets = check_integer("n_top_sets", n_top_sets, 0)
    flows = count_flows(adata, links, groupby, max_qvalue, weight, n_top_sets)
    if flows is None:
        ax = new_axes(ax, figsize=(6, 1.2))
        ax.set_axis_off()
        ax.set_title(links.verdict(max_qvalue), fontsize=TITLE)
    else:
        ax = new_axes(ax, figsize=figsize(flows))
        unit = "number of links" if weight == "links" else "sum of |z|"
        ax.set_title(f"{links.verdict(max_qvalue)}\nwidth: {unit}", fontsize=TITLE, pad=20)
        draw_flows(ax, flows, by_sign=color == "sign")
    show_if_wanted(show=show)
    return ax
