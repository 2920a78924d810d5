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
def feature_genes_df(
    adata: AnnData,
    *,
    key: str | None = None,
    features: str | Sequence[str] | None = None,
    max_qvalue: float | None = None,
    n_top: int | None = None,
) -> pd.DataFrame:
    """Genes of each feature as a table, those first that go with it most.

    Parameters
    ----------
    {adata}
    {key}
    {annotation_rows}

    Returns
    -------
    :class:`pandas.DataFrame` as described for :func:`saescape.tl.feature_genes`, significant genes first.

    Raises
    ------
    KeyError
        If :func:`saescape.tl.feature_genes` was not run, or there is no such feature.
    ValueError
        For values out of range.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", max_epochs=2, show_progress_bar=False)
    >>> sae.tl.feature_genes(adata, model=True)
    >>> sae.get.feature_genes_df(adata, features="sae_1", n_top=3)["feature"].tolist()
    ['sae_1', 'sae_1', 'sae_1']
    """
    return selected(adata, annotation_keys(key).genes, features, max_qvalue, n_top)
