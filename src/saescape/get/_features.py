from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData
from scipy import sparse

from saescape._docs import doc_params
from saescape._keys import sae_keys
from saescape._validate import check_adata, missing_key, require_key

if TYPE_CHECKING:
    from typing import Any

    import pandas as pd


@doc_params
def features(adata: AnnData, *, key: str | None = None) -> AnnData:
    """Sparse features as variables of a new AnnData, for every tool that works on `.X`.

    Parameters
    ----------
    {adata}
    {key}

    Returns
    -------
    New AnnData: `.X` holds the codes (:class:`scipy.sparse.csr_matrix`), `.var` the table of the features, `.obs`,
    `.obsm`, `.obsp` and `.uns` are copied. `.uns["log1p"]` is left out because it describes the `.X` of `adata`;
    call :func:`scanpy.pp.log1p` on the result for fold changes of :func:`scanpy.tl.rank_genes_groups`
    that mean something.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", show_progress_bar=False)
    >>> sae.get.features(adata).var_names[:2].tolist()
    ['sae_0', 'sae_1']
    """
    check_adata(adata)
    keys = sae_keys(key)
    if key is not None and keys.obsm not in adata.obsm:
        raise missing_key(keys.obsm, "adata.obsm", adata.obsm, argument="key")
    codes = require_key(adata, "obsm", keys.obsm)
    entry = require_key(adata, "uns", keys.uns)
    if not hasattr(entry, "keys") or "features" not in entry:
        msg = f"`adata.uns[{keys.uns!r}]` is not a fitted sparse autoencoder; give the `key_added` of `sae.tl.sae_fit`."
        raise ValueError(msg)
    table: pd.DataFrame = entry["features"].copy()
    if codes.shape[1] != len(table):
        msg = f"`adata.obsm[{keys.obsm!r}]` has {codes.shape[1]} features, but their table has {len(table)} rows."
        raise ValueError(msg)
    uns: dict[str, Any] = {name: deepcopy(value) for name, value in adata.uns.items() if name != "log1p"}
    return AnnData(
        sparse.csr_matrix(codes, dtype=np.float32, copy=True),
        obs=adata.obs.copy(),
        var=table,
        obsm={name: array.copy() for name, array in adata.obsm.items()},
        obsp={name: array.copy() for name, array in adata.obsp.items()},
        uns=uns,
    )
