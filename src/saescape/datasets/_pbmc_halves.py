from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData

_N_COMPS = 20


def pbmc_halves() -> tuple[AnnData, AnnData]:
    """Real cells seen twice, through two disjoint halves of their genes: a pair with known partners.

    700 blood cells (PBMC 68k of 10x Genomics :cite:p:`Zheng2017`, as reduced by scanpy :cite:p:`Wolf2018`); every
    second gene goes to one side, the others to the other. The two sides share no variable, but the cells are the same:
    row i of one is row i of the other. A map between them can be checked cell by cell, and links of features to genes
    against those of the true pairs. Both sides are RNA of one experiment and share the depth and quality of each cell:
    it is an easier pair than two technologies are. Nothing is downloaded: the data come with scanpy.

    Returns
    -------
    The two sides, 700 cells each with the same names in the same order.

    `.X` : :class:`scipy.sparse.csr_matrix` (dtype `float32`)
        Log-normalised expression, 383 genes on the first and 382 on the second side.
    `.obs['cell_type']` : :class:`pandas.Series` (dtype `category`)
        Ten types by comparison with sorted cells (`bulk_labels` of scanpy), with scanpy's colors.
    `.obsm['X_pca']`, `.varm['PCs']` : :class:`numpy.ndarray`
        20 principal components of the genes of that side, scaled to unit variance (at most 10 SD), and loadings.

    Examples
    --------
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.pbmc_halves()
    >>> adata.shape, adata_ref.shape
    ((700, 383), (700, 382))
    >>> set(adata.var_names) & set(adata_ref.var_names)
    set()
    """
    import scanpy as sc

    full = sc.datasets.pbmc68k_reduced()
    genes = np.arange(full.raw.n_vars)
    return _side(full, genes % 2 == 0), _side(full, genes % 2 == 1)


def _side(full: AnnData, chosen: np.ndarray) -> AnnData:
    import anndata as ad
    import pandas as pd
    import scanpy as sc
    from scipy import sparse

    adata = ad.AnnData(
        sparse.csr_matrix(full.raw.X[:, chosen], dtype=np.float32),
        obs=pd.DataFrame({"cell_type": full.obs["bulk_labels"]}, index=full.obs_names),
        var=pd.DataFrame(index=full.raw.var_names[chosen]),
    )
    adata.uns["cell_type_colors"] = np.asarray(full.uns["bulk_labels_colors"])
    scaled = adata.copy()
    scaled.X = scaled.X.toarray()
    sc.pp.scale(scaled, max_value=10)
    sc.pp.pca(scaled, n_comps=_N_COMPS)
    adata.obsm["X_pca"] = scaled.obsm["X_pca"].astype(np.float32)
    adata.varm["PCs"] = scaled.varm["PCs"].astype(np.float32)
    return adata
