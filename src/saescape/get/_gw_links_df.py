from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._validate import check_adata, check_integer, check_real
from saescape.links._stored import positions, stored_links

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData


@doc_params
def gw_links_df(
    adata: AnnData,
    *,
    key: str | None = None,
    features: str | Sequence[str] | None = None,
    genes: str | Sequence[str] | None = None,
    max_qvalue: float | None = None,
    n_top: int | None = None,
) -> pd.DataFrame:
    """Links of features to genes as a table, the most significant first.

    Parameters
    ----------
    {adata}
    key
        `key_added` of :func:`saescape.tl.gw_links`; None for the default.
    features
        Feature or features; None for all.
    genes
        Gene or genes; None for all.
    max_qvalue
        Largest false discovery rate; links that were not tested are left out then. None for all links.
    n_top
        Number of links to return; None for all.

    Returns
    -------
    :class:`pandas.DataFrame` with one row per link, by p-value and then by absolute z-score: `feature`, `gene`,
    `correlation`, `null_mean`, `null_sd`, `zscore`, `pvalue`, `qvalue`, `n_batches` and `correlation_sd` if there were
    batches, and the `module` of the gene (missing if it has none).

    Raises
    ------
    KeyError
        If there are no links, or no such feature or gene.
    ValueError
        For values out of range, or if the tables do not fit together.

    Examples
    --------
    >>> import warnings
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.paired(60, 60, n_types=2)
    >>> with warnings.catch_warnings(action="ignore"):  # `n_nulls=0` saves time here and warns
    ...     sae.tl.gw_map(adata, adata_ref, use_rep="X_image", n_nulls=0, show_progress_bar=False, device="cpu")
    ...     sae.tl.gw_links(adata, adata_ref, feature_key="programs", n_nulls=0, show_progress_bar=False, device="cpu")
    >>> df = sae.get.gw_links_df(adata, features="programs_1", n_top=3)
    >>> df.columns[:3].tolist()
    ['feature', 'gene', 'correlation']
    >>> len(df)
    3
    """
    check_adata(adata)
    if max_qvalue is not None:
        max_qvalue = check_real("max_qvalue", max_qvalue, 0.0, 1.0, open_low=False)
    if n_top is not None:
        n_top = check_integer("n_top", n_top)
    links = stored_links(adata, key)
    rows = np.arange(len(links.features)) if features is None else positions("features", features, links.features)
    columns = np.arange(len(links.genes)) if genes is None else positions("genes", genes, links.genes)
    tables = {name: table[np.ix_(rows, columns)].ravel() for name, table in links.tables.items()}
    feature, gene = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    kept = np.arange(len(feature)) if max_qvalue is None else np.flatnonzero(tables["qvalue"] <= max_qvalue)
    size = np.nan_to_num(np.abs(np.where(np.isfinite(tables["zscore"]), tables["zscore"], tables["correlation"])))
    pvalue = tables.get("pvalue", tables["qvalue"])[kept]
    order = kept[np.lexsort((-size[kept], np.nan_to_num(pvalue, nan=np.inf)))][:n_top]
    return pd.DataFrame(
        {
            "feature": links.features.to_numpy()[feature[order]],
            "gene": links.genes.to_numpy()[gene[order]],
            **{name: values[order] for name, values in tables.items()},
            "module": pd.Categorical(links.module, categories=links.modules)[gene[order]],
        }
    )
