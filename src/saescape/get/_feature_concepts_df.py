from __future__ import annotations

from typing import TYPE_CHECKING

from saescape._docs import doc_params
from saescape._keys import annotation_keys
from saescape.annotation._selection import selected

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData


@doc_params
def feature_concepts_df(
    adata: AnnData,
    *,
    key: str | None = None,
    features: str | Sequence[str] | None = None,
    max_qvalue: float | None = None,
    n_top: int | None = None,
) -> pd.DataFrame:
    """Labels and numbers of cells against each feature as a table.

    Parameters
    ----------
    {adata}
    {key}
    {annotation_rows}

    Returns
    -------
    :class:`pandas.DataFrame` as described for :func:`saescape.tl.feature_concepts`, in the order of columns
    and categories.

    Raises
    ------
    KeyError
        If :func:`saescape.tl.feature_concepts` was not run, or there is no such feature.
    ValueError
        For values out of range.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", max_epochs=2, show_progress_bar=False)
    >>> adata.obs["donor"] = [f"donor_{i % 4}" for i in range(adata.n_obs)]  # made up: one donor
    >>> sae.tl.feature_concepts(adata, "phase", batch_key="donor", n_perms=20)
    >>> sae.get.feature_concepts_df(adata, features="sae_1")["category"].tolist()
    ['G1', 'G2M', 'S']
    """
    return selected(adata, annotation_keys(key).concepts, features, max_qvalue, n_top)
