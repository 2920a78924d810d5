from __future__ import annotations

from typing import TYPE_CHECKING

from saescape._docs import doc_params
from saescape._keys import sae_keys
from saescape._store import from_uns

from ._axes import new_axes, show_if_wanted

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@doc_params
def training(adata: AnnData, *, key: str | None = None, ax: Axes | None = None, show: bool | None = None) -> Axes:
    """How the training of a sparse autoencoder went.

    The fraction of variance unexplained (left axis) of training batches and of held-out data, with the number of active
    and of dead features (right axis).

    Parameters
    ----------
    {adata}
    {key}
    {ax}
    {show}

    Returns
    -------
    The axes of the fraction of variance unexplained.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", show_progress_bar=False)
    >>> sae.pl.training(adata, show=False).get_xlabel()
    'step'
    """
    stored = from_uns(adata, key)
    if stored.history is None:
        msg = f"`adata.uns[{sae_keys(key).uns!r}]` has no 'history' of a training; fit with `sae.tl.sae_fit(adata)`."
        raise KeyError(msg)
    history = stored.history
    held_out = history.dropna(subset="fvu_held_out")
    ax = new_axes(ax, figsize=(6, 4))
    lines = ax.plot(history["step"], history["fvu"], color="C0", label="FVU, training batches")
    lines += ax.plot(held_out["step"], held_out["fvu_held_out"], "o", color="C1", label="FVU, held out")
    ax.set_xlabel("step")
    ax.set_ylabel("fraction of variance unexplained")
    # the first steps are far off and would flatten the rest
    ax.set_ylim(0, min(1.05, 1.05 * float(max(history["fvu"].max(), held_out["fvu_held_out"].max()))))
    counts = ax.twinx()
    lines += counts.plot(history["step"], history["l0"], ":", color="0.4", label="active features (L0)")
    lines += counts.plot(history["step"], history["n_dead"], "--", color="0.7", label="dead features")
    counts.set_ylabel("features")
    counts.set_ylim(0, 1.3 * max(1.0, float(history[["l0", "n_dead"]].to_numpy().max())))
    counts.grid(visible=False)
    ax.set_title(f"held-out FVU {stored.metrics.get('fvu', float('nan')):.3f}, L0 {stored.metrics['l0']:.1f}")
    # below the axes: it would cover one of the curves
    ax.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
    show_if_wanted(show=show)
    return ax
