from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._keys import sae_sweep_key
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._rep import get_representation
from saescape._validate import check_adata, check_copy, check_integer

from ._sae_fit import _group_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from saescape._typing import Architecture, BoolArray, Rng, Standardize


@doc_params
def sae_sweep(
    adata: AnnData,
    *,
    k: int | Sequence[int] | None = None,
    n_features: int | Sequence[int] | None = None,
    use_rep: str | None = None,
    layer: str | None = None,
    mask_var: BoolArray | str | None = None,
    architecture: Architecture = "topk",
    n_seeds: int = 3,
    n_nulls: int = 3,
    standardize: Standardize = "center",
    max_epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    early_stopping: bool = True,
    batch_key: str | None = None,
    rng: Rng = 0,
    device: str | None = None,
    key_added: str | None = None,
    show_progress_bar: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Compare widths and sparsities of a sparse autoencoder, by error and by agreement of seeds.

    The error, on held-out data too, goes on falling when more features may be active than there are, so it cannot
    choose `k`. Features that are in the data are found again with another seed; directions that merely reduce the error
    are not: among settings that are about as stable as the best, take the one with the smallest error
    (:func:`saescape.pl.sae_sweep`). Every combination of `k` and `n_features` is fitted several times to the same rows
    and evaluated on the same held-out rows. No model is kept: fit the one you choose with :func:`saescape.tl.sae_fit`.

    Parameters
    ----------
    {adata}
    k
        Active features per row, one number or increasing numbers. None takes powers of two: from 2 up to 256
        dimensions and from 4 above (from 1 with few dimensions or rows), to 32 and 64, as far as they are at most a
        tenth of `n_features` and half of the dimensions.
    n_features
        Sizes of the dictionary, one number or increasing numbers. None takes half the default, the default, and its
        double.
    {use_rep}
    {layer}
    mask_var
        Boolean mask over variables, or a column of `.var` with one, when `.X` or a layer is used.
    architecture
        As for :func:`saescape.tl.sae_fit`. Compare architectures by one call each, at equal L0.
    n_seeds
        Fits per combination; at least two are needed to compare them.
    n_nulls
        Fits per combination to Gaussian data with the covariance of the real ones, as a reference for `stability`:
        0 for none, or at least two. Each costs as much as a fit.
    standardize, max_epochs, batch_size, lr, early_stopping
        As for :func:`saescape.tl.sae_fit`. Fewer epochs make the sweep faster, and every fit worse.
    batch_key
        Column of `.obs` with the unit of independence (plate, donor, well). Whole groups are held out then instead of
        single observations.
    {rng}
    {device}
    {key_added}
    {show_progress_bar}
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following field:

    `adata.uns['sae_sweep' | key_added]['results']` : :class:`pandas.DataFrame`
        One row per combination, means over seeds: `n_features`, `k`, `architecture`; `fvu` (fraction of variance
        unexplained, held-out rows), `fvu_sd` (standard deviation over seeds), `fvu_train`; `l0` (active features
        per row) and `n_dead`, both on the rows evaluated (at most 20,000 held out and as many trained on);
        `stability` (mean cosine of the directions of two seeds, paired one to one, features in use only;
        those without partner count as 0), `stability_random` (the same for random directions, as many and with the
        covariance of the data), `stability_null` (the same for fits to Gaussian data, NaN with `n_nulls=0`),
        `stability_share` (share of features whose partner is closer than 95 % of the partners are by chance, in the
        stricter of the two references); `seconds` (one fit).
    `adata.uns['sae_sweep' | key_added]['params']` : :class:`dict`
        Every argument that changes the result, with defaults filled in, and the numbers of observations `n_train` and
        `n_held_out`.

    Raises
    ------
    KeyError
        When `use_rep`, `layer`, `batch_key` or the column `mask_var` does not exist.
    TypeError
        When `k`, `n_features`, `n_seeds` or `n_nulls` are no integers.
    ValueError
        For `k` or `n_features` that are not increasing, `k` above the smallest `n_features`, fewer than two seeds, a
        single null fit, non-finite data, too few rows, and training that diverges.

    Notes
    -----
    Agreement of dictionaries over seeds by one-to-one matching of cosines: Song et al. (arXiv 2505.20254), PW-MCC. The
    matching takes a few seconds per pair of seeds at 4,096 features, and grows with the cube of their number.

    *Read `stability` beside its references, never alone.* In data of few dimensions random directions have close
    partners (`stability_random`), closer still where few components have most of the variance. Fits to the same
    rows agree more than that even when there is nothing to find, because they share the accidents of the sample: with
    few rows per feature, much more. `stability_null` measures it, on as many Gaussian rows; the larger of the two is
    what chance gives. Features in excess of those in the data are arbitrary, so stability falls with `n_features`
    although all true features may be found.

    Random numbers are shared: every combination has the same split, the same seeds and the same null data, and a row of
    the table does not depend on which other combinations are asked for.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_sweep(
    ...     adata, k=[2, 4], n_features=32, use_rep="X_pca", n_seeds=2, max_epochs=20, show_progress_bar=False
    ... )
    >>> results = adata.uns["sae_sweep"]["results"]
    >>> results[["n_features", "k"]].to_numpy().tolist()
    [[32, 2], [32, 4]]
    >>> bool((results["stability"] > results["stability_random"]).all())
    True
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    n_seeds = check_integer("n_seeds", n_seeds, 2)
    n_nulls = check_integer("n_nulls", n_nulls, 0)
    if n_nulls == 1:
        msg = "`n_nulls` must be 0 or at least 2, found 1: agreement needs two fits."
        raise ValueError(msg)
    settings: dict[str, Any] = {
        "architecture": architecture,
        "standardize": standardize,
        "max_epochs": max_epochs,
        "batch_size": batch_size,
        "lr": lr,
        "early_stopping": early_stopping,
    }
    rep = get_representation(adata, use_rep, layer, mask_var=mask_var)
    key = sae_sweep_key(key_added)
    if "weights" in adata.uns.get(key, {}):
        msg = f"`key_added={key_added!r}` would overwrite a fitted sparse autoencoder; choose another name."
        raise ValueError(msg)
    labels = None if batch_key is None else _group_labels(adata, batch_key)

    from saescape.sae._data import hold_out_observations
    from saescape.sae._defaults import effective_dims
    from saescape.sae._sweep import sweep
    from saescape.sae._sweep_grid import make_grid

    rows = rep.rows
    make_grid(rows.n_rows, rows.n_dims, k=k, n_features=n_features, **settings)
    torch_device = resolve_device(device)
    moments = rows.moments()
    seed, generator = rng_param(rng), as_generator(rng)
    codes = None if labels is None else labels.codes.astype(np.int64)
    n_positions = rows.n_positions or 1
    held_out = hold_out_observations(rows.n_obs, n_positions, rows.n_dims, generator, codes)
    n_train = int((~held_out).sum())
    known = settings | {"n_train": n_train * n_positions, "effective": effective_dims(moments[1], standardize)}
    plans = make_grid(rows.n_rows, rows.n_dims, k=k, n_features=n_features, **known)

    adata = adata.copy() if copy else adata
    start = logg.info(
        f"comparing {len(plans)} settings of a sparse autoencoder ({architecture}) on {rows.where}, "
        f"{n_seeds + n_nulls} fits each"
    )
    results = sweep(
        rows,
        plans,
        held_out,
        moments,
        n_seeds=n_seeds,
        n_nulls=n_nulls,
        rng=generator,
        device=torch_device,
        show_progress_bar=show_progress_bar,
    )
    adata.uns[key] = {
        "results": results,
        "params": {
            "k": np.unique([plan.k for plan in plans]),
            "n_features": np.unique([plan.n_features for plan in plans]),
            "use_rep": use_rep,
            "layer": layer,
            "mask_var": mask_var if mask_var is None or isinstance(mask_var, str) else np.asarray(mask_var),
            "n_seeds": n_seeds,
            "n_nulls": n_nulls,
            **settings,
            "batch_key": batch_key,
            "n_train": n_train,
            "n_held_out": int(held_out.sum()),
            "rng": seed,
        },
    }
    logg.info("    finished", time=start, deep=f"added\n    `.uns[{key!r}]`, one row of `results` per setting")
    return adata if copy else None
