from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from saescape._docs import doc_params
from saescape._keys import sae_keys
from saescape._validate import check_adata, missing_key, require_key

from ._axes import show_if_wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes


@doc_params
def features(
    adata: AnnData,
    features: str | Sequence[str],
    *,
    basis: str = "umap",
    key: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    **kwargs: Any,
) -> Axes | list[Axes]:
    """Activation of features on an embedding.

    Parameters
    ----------
    {adata}
    features
        Name, or names, of features (`"sae_3"`); columns of `.obs` can be mixed in.
    basis
        Embedding in `.obsm`, with or without the prefix `X_` (`"umap"`, `"pca"`, `"spatial"`).
    {key}
    {ax}
    {show}
    **kwargs
        Passed to :func:`scanpy.pl.embedding`, such as `ncols`, `color_map`, `vmax`, `size`.

    Returns
    -------
    The axes, or one per feature when a sequence of several is given.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", show_progress_bar=False)
    >>> sae.pl.features(adata, "sae_3", show=False).get_title()
    'sae_3'
    """
    import scanpy as sc

    check_adata(adata)
    keys = sae_keys(key)
    if key is not None and keys.obsm not in adata.obsm:
        raise missing_key(keys.obsm, "adata.obsm", adata.obsm, argument="key")
    codes = sparse.csc_matrix(require_key(adata, "obsm", keys.obsm))
    names = require_key(adata, "uns", keys.uns)["features"].index
    wanted = [features] if isinstance(features, str) else list(features)
    if not wanted:
        msg = "`features` is empty; give at least one name such as 'sae_0'."
        raise ValueError(msg)
    basis_key = basis if basis in adata.obsm else f"X_{basis}"
    coordinates = np.asarray(require_key(adata, "obsm", basis_key, argument="basis"))

    # scanpy colours by columns of `.obs`: a light object keeps the user's one as it is
    light = AnnData(obs=adata.obs[[name for name in wanted if name not in names and name in adata.obs]].copy())
    light.obsm[basis_key] = coordinates
    for name in wanted:
        if name in names:
            light.obs[name] = codes[:, [names.get_loc(name)]].toarray().ravel()
        elif name not in adata.obs:
            msg = f"`features`: {name!r} is no feature ({names[0]!r} to {names[-1]!r}) and no column of `adata.obs`."
            raise KeyError(msg)
        elif f"{name}_colors" in adata.uns:
            light.uns[f"{name}_colors"] = adata.uns[f"{name}_colors"].copy()
    options = {"color_map": "viridis"} | kwargs
    if ax is not None and len(wanted) > 1:
        msg = f"`ax` holds one feature, found {len(wanted)} in `features`; leave `ax` out."
        raise ValueError(msg)
    drawn = sc.pl.embedding(light, basis=basis_key.removeprefix("X_"), color=wanted, ax=ax, show=False, **options)
    show_if_wanted(show=show)
    return drawn
