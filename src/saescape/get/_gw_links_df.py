from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._keys import gw_links_key
from saescape._validate import check_adata, check_integer, check_real, require_key, string_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from saescape._typing import IntArray

_TABLES = ("correlation", "null_mean", "null_sd", "zscore", "pvalue", "qvalue")
_BATCH_TABLES = ("n_batches", "correlation_sd")


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
    name = gw_links_key(key)
    entry = require_key(adata, "uns", name, argument=None if key is None else "key")
    if not isinstance(entry, Mapping) or not {*_TABLES, "features", "genes"} <= set(entry):
        msg = f"`adata.uns[{name!r}]` holds no links; run `sae.tl.gw_links(adata, adata_ref)` first to create them."
        raise KeyError(msg)
    # strings of zarr files come in a dtype of their own
    feature_names = pd.Index(np.asarray(entry["features"]).astype(object))
    table: pd.DataFrame = entry["genes"]
    gene_names = pd.Index(np.asarray(table.index).astype(object))
    rows, columns = _places("features", features, feature_names), _places("genes", genes, gene_names)
    tables = {}
    for column in (*_TABLES, *(c for c in _BATCH_TABLES if c in entry)):
        values = np.asarray(entry[column])
        if values.shape != (len(feature_names), len(gene_names)):
            msg = (
                f"`adata.uns[{name!r}][{column!r}]` has shape {values.shape}, but there are {len(feature_names)} "
                f"features and {len(gene_names)} genes; run `sae.tl.gw_links` again."
            )
            raise ValueError(msg)
        tables[column] = values[np.ix_(rows, columns)].ravel()
    feature, gene = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    kept = np.arange(len(feature)) if max_qvalue is None else np.flatnonzero(tables["qvalue"] <= max_qvalue)
    size = np.nan_to_num(np.abs(np.where(np.isfinite(tables["zscore"]), tables["zscore"], tables["correlation"])))
    order = kept[np.lexsort((-size[kept], np.nan_to_num(tables["pvalue"][kept], nan=np.inf)))][:n_top]
    return pd.DataFrame(
        {
            "feature": feature_names.to_numpy()[feature[order]],
            "gene": gene_names.to_numpy()[gene[order]],
            **{column: values[order] for column, values in tables.items()},
            "module": table["module"].astype("category").array[gene[order]],
        }
    )


def _places(argument: str, wanted: str | Sequence[str] | None, names: pd.Index) -> IntArray:
    if wanted is None:
        return np.arange(len(names))
    listed = string_list(argument, wanted)
    missing = [item for item in listed if item not in names]
    if missing:
        msg = (
            f"`{argument}`: {len(missing)} of {len(listed)} have no links, such as {missing[0]!r}; available are "
            f"{list(names[:5])}{' and more' if len(names) > 5 else ''}."
        )
        raise KeyError(msg)
    return names.get_indexer_for(listed)
