from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape._docs import doc_params
from saescape._keys import gw_keys
from saescape.get import coupling_df

from ._axes import new_axes, show_if_wanted

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

# numbers are written into the cells of tables up to this size
_MAX_ANNOTATED = 12


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

    The title has the p-value of the coupling and says when it is ambiguous.

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
    df = coupling_df(adata, adata_ref, groupby, groupby_ref, key=key)
    n_rows, n_columns = df.shape
    ax = new_axes(ax, figsize=(max(3.6, 2.2 + 0.5 * n_columns), max(2.6, 1.6 + 0.42 * n_rows)))
    values = df.to_numpy()
    image = ax.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    ax.grid(visible=False)
    ax.set_xticks(range(n_columns), df.columns, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n_rows), df.index)
    ax.set_xlabel(f"reference {groupby_ref}")
    ax.set_ylabel(groupby)
    if max(n_rows, n_columns) <= _MAX_ANNOTATED:
        for i in range(n_rows):
            for j in range(n_columns):
                color = "black" if values[i, j] > 0.6 else "white"
                ax.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize="small", color=color)
    ax.set_title(_title(adata.uns[gw_keys(key).uns]))
    ax.figure.colorbar(image, ax=ax, label="share of mass")
    show_if_wanted(show=show)
    return ax


def _title(stored: dict) -> str:
    pvalue = float(stored["pvalue"])
    parts = [f"GW loss {float(stored['gw_loss']):.2f}", "p not tested" if np.isnan(pvalue) else f"p = {pvalue:.2g}"]
    if bool(stored["ambiguous"]):
        parts.append("ambiguous")
    return ", ".join(parts)
