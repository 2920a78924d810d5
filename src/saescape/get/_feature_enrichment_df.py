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
def feature_enrichment_df(
    adata: AnnData,
    *,
    key: str | None = None,
    features: str | Sequence[str] | None = None,
    max_qvalue: float | None = None,
    n_top: int | None = None,
) -> pd.DataFrame:
    """Gene sets of each feature as a table, by p-value.

    Parameters
    ----------
    {adata}
    {key}
    {annotation_rows}

    Returns
    -------
    :class:`pandas.DataFrame` as described for :func:`saescape.tl.feature_enrichment`, small p-values first.

    Raises
    ------
    KeyError
        If :func:`saescape.tl.feature_enrichment` was not run, or there is no such feature.
    ValueError
        For values out of range.

    Examples
    --------
    >>> import warnings
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", max_epochs=2, show_progress_bar=False)
    >>> sae.tl.feature_genes(adata, model=True)
    >>> net = {"B cells": ["CD79A", "CD79B", "MS4A1", "CD74"], "NK cells": ["NKG7", "GNLY", "GZMB", "PRF1"]}
    >>> with warnings.catch_warnings(action="ignore"):  # loadings are not tested
    ...     sae.tl.feature_enrichment(adata, net, min_size=2)
    >>> sae.get.feature_enrichment_df(adata, n_top=1).columns[:2].tolist()
    ['feature', 'gene_set']
    """
    return selected(adata, annotation_keys(key).enrichment, features, max_qvalue, n_top)
