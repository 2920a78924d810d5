from __future__ import annotations

from typing import TYPE_CHECKING

from saescape._docs import doc_params
from saescape._store import from_uns
from saescape.models import SparseAutoencoder

if TYPE_CHECKING:
    from anndata import AnnData


@doc_params
def sae(adata: AnnData, *, key: str | None = None) -> SparseAutoencoder:
    """Fitted sparse autoencoder as an estimator on arrays.

    Parameters
    ----------
    {adata}
    {key}

    Returns
    -------
    The estimator; it shares nothing with `adata`.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", show_progress_bar=False)
    >>> sae.get.sae(adata).W_dec_.shape
    (64, 50)
    """
    return SparseAutoencoder._from_stored(from_uns(adata, key))
