from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from saescape._docs import doc_params
from saescape._validate import check_adata, require_key
from saescape.coupling._stored import stored_coupling

if TYPE_CHECKING:
    from anndata import AnnData


@doc_params
def coupling_df(
    adata: AnnData,
    adata_ref: AnnData,
    groupby: str,
    groupby_ref: str,
    *,
    key: str | None = None,
    normalize: bool = True,
) -> pd.DataFrame:
    """Mass that a stored coupling moves between groups of cells.

    Parameters
    ----------
    {adata}
    adata_ref
        The reference of :func:`saescape.tl.gw_map`; all its cells must be there, in any order.
    groupby
        Column of `adata.obs`.
    groupby_ref
        Column of `adata_ref.obs`.
    key
        `key_added` of :func:`saescape.tl.gw_map`; None for the default.
    normalize
        Divide each row by its sum: the distribution of a group over the groups of the reference. Otherwise, all
        entries sum to the mass of the cells with a label, at most one.

    Returns
    -------
    :class:`pandas.DataFrame` with groups of `adata` in rows and groups of `adata_ref` in columns. Cells without a
    label are left out; groups without cells are zero.

    Raises
    ------
    KeyError
        If the coupling or a column does not exist.
    ValueError
        If `adata_ref` does not hold the cells of the coupling.

    Examples
    --------
    >>> import warnings
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.paired(60, 60, n_types=2)
    >>> with warnings.catch_warnings(action="ignore"):  # `n_nulls=0` saves time here and warns
    ...     sae.tl.gw_map(adata, adata_ref, use_rep="X_image", n_nulls=0, show_progress_bar=False, device="cpu")
    >>> df = sae.get.coupling_df(adata, adata_ref, "cell_type", "cell_type")
    >>> df.shape
    (2, 2)
    """
    check_adata(adata)
    check_adata(adata_ref, "adata_ref")
    rows = _indicator(adata, groupby, "groupby", "adata")
    columns = _indicator(adata_ref, groupby_ref, "groupby_ref", "adata_ref")
    mass = rows.to_numpy().T @ (stored_coupling(adata, adata_ref, key).plan @ columns.to_numpy())
    df = pd.DataFrame(mass, index=rows.columns, columns=columns.columns)
    df.index.name, df.columns.name = groupby, groupby_ref
    if normalize:
        total = df.sum(axis=1)
        df = df.div(total.where(total > 0, 1.0), axis=0)
    return df


def _indicator(adata: AnnData, column: str, argument: str, adata_name: str) -> pd.DataFrame:
    values = require_key(adata, "obs", column, argument=argument, adata_name=adata_name)
    return pd.get_dummies(values.astype("category")).astype(float).rename(columns=str)
