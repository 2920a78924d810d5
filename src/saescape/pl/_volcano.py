from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape._docs import doc_params
from saescape._validate import check_adata, check_integer, check_real, require_key

from ._axes import SMALL, fit_texts, new_axes, show_if_wanted
from ._colors import NEGATIVE, NEUTRAL, POSITIVE

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

    from saescape._typing import BoolArray

# fraction of the smallest positive p-value at which those of 0 are drawn
_BELOW_SMALLEST = 0.1


@doc_params
def volcano(
    adata: AnnData,
    group: str | None = None,
    *,
    key: str = "rank_genes_groups",
    max_padj: float = 0.05,
    min_lfc: float = 0.0,
    n_labels: int = 10,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Volcano plot of a differential test of features (or genes): fold change against adjusted p-value.

    Draws what :func:`scanpy.tl.rank_genes_groups` left behind. Features are tested like genes:
    ``fdata = sae.get.features(adata)``, then ``sc.pp.log1p(fdata)`` so that fold changes are of mean activation, then
    ``sc.tl.rank_genes_groups(fdata, groupby)``. That takes **cells** as replicates. To compare donors or wells, take
    their means first: ``bulk = sc.get.aggregate(fdata, by=[donor, genotype], func="mean")`` and
    ``bulk.X = bulk.layers["mean"]``.

    Parameters
    ----------
    adata
        Annotated data matrix in which the test was run, that of :func:`saescape.get.features` or one of genes.
    group
        Group of the test to show. May be left out if there is only one.
    key
        `key_added` of :func:`scanpy.tl.rank_genes_groups`.
    max_padj
        Largest adjusted p-value of a significant feature (dashed line).
    min_lfc
        Smallest absolute fold change (log2) of features that are coloured and named.
    n_labels
        How many significant features to name, the smallest p-values first; 0 for none.
    {ax}
    {show}

    Returns
    -------
    The axes. P-values of 0 are drawn as triangles above all others.

    Raises
    ------
    KeyError
        If the test was not run.
    ValueError
        If the group is not among those tested, has to be chosen, or the method gives no p-values.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", show_progress_bar=False)
    >>> fdata = sae.get.features(adata)
    >>> sc.pp.log1p(fdata)
    >>> sc.tl.rank_genes_groups(fdata, "bulk_labels", method="wilcoxon")
    >>> sae.pl.volcano(fdata, "Dendritic", show=False).get_title()
    'Dendritic vs. rest'
    """
    check_adata(adata)
    max_padj = check_real("max_padj", max_padj, 0, 1)
    min_lfc = check_real("min_lfc", min_lfc, 0, open_low=False)
    n_labels = check_integer("n_labels", n_labels, 0)
    table, title = _table(adata, group, key)
    padj, change = table["pvals_adj"].to_numpy(dtype=float), table["logfoldchanges"].to_numpy(dtype=float)
    zero = padj == 0
    smallest = padj[padj > 0].min(initial=1.0)
    height = -np.log10(np.where(zero, smallest * _BELOW_SMALLEST, padj))
    hit = (padj <= max_padj) & (np.abs(change) >= min_lfc)

    ax = new_axes(ax, figsize=(4.8, 4.2))
    kinds: list[tuple[BoolArray, str, str]] = [
        (~hit, NEUTRAL, "not significant"),
        (hit & (change < 0), NEGATIVE, "lower"),
        (hit & (change >= 0), POSITIVE, "higher"),
    ]
    for rows, color, name in kinds:
        label: str | None = f"{name} ({int(rows.sum())})"
        for marker, part in (("o", rows & ~zero), ("^", rows & zero)):
            if part.any():
                ax.scatter(change[part], height[part], s=16, color=color, marker=marker, linewidths=0, label=label)
                label = None
    ax.axhline(-np.log10(max_padj), color="0.4", linestyle="--", linewidth=0.8)
    if min_lfc:
        for side in (-min_lfc, min_lfc):
            ax.axvline(side, color="0.4", linestyle="--", linewidth=0.8)
    names = table["names"].to_numpy(dtype=str)
    for i in np.lexsort((-np.abs(change), padj)):
        if not hit[i] or n_labels == 0:
            break
        n_labels -= 1
        # names are text, not formulas
        ax.annotate(
            names[i], (change[i], height[i]), (3, 3), textcoords="offset points", fontsize=SMALL, parse_math=False
        )
    ax.set(xlabel="fold change (log2)", ylabel="adjusted p-value (-log10)", title=title)
    ax.title.set_parse_math(False)
    # room for names
    ax.margins(x=0.12)
    ax.grid(visible=False)
    ax.legend(frameon=False, loc="best")
    fit_texts(ax)
    show_if_wanted(show=show)
    return ax


def _table(adata: AnnData, group: str | None, key: str) -> tuple[pd.DataFrame, str]:
    """Features of one group with finite values, and a title."""
    import scanpy as sc

    result = require_key(adata, "uns", key, argument=None if key == "rank_genes_groups" else "key")
    if not hasattr(result, "keys") or "names" not in result or "params" not in result:
        msg = f"`adata.uns[{key!r}]` is no result of `sc.tl.rank_genes_groups`; give its `key_added` as `key`."
        raise ValueError(msg)
    groups = list(result["names"].dtype.names)
    if group is None and len(groups) == 1:
        group = groups[0]
    if group not in groups:
        found = "give one" if group is None else f"found {group!r}"
        msg = f"`group` must be one of those tested, {groups}; {found}."
        raise ValueError(msg)
    missing = [name for name in ("logfoldchanges", "pvals_adj") if name not in result]
    if missing:
        msg = (
            f"`adata.uns[{key!r}]` has no {missing} (method {result['params'].get('method')!r}); run "
            "`sc.tl.rank_genes_groups` with 't-test' or 'wilcoxon'."
        )
        raise ValueError(msg)
    table = sc.get.rank_genes_groups_df(adata, group, key=key)
    known = np.isfinite(table["logfoldchanges"]) & table["pvals_adj"].notna()
    title = f"{group} vs. {result['params'].get('reference', 'rest')}"
    return table[known].reset_index(drop=True), title
