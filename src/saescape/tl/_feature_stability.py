from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._keys import feature_stability_key
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._store import from_uns
from saescape._stored_features import stored_features
from saescape._validate import check_adata, check_copy, check_integer
from saescape._warnings import SignificanceWarning

from ._feature_inputs import add_columns
from ._feature_match import _check_slot
from ._sae_fit import _group_labels

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._store import StoredSae
    from saescape._typing import Rng
    from saescape.sae._refit_stability import RefitStability

_SETTINGS = ("architecture", "n_features", "standardize", "max_epochs", "batch_size", "lr", "early_stopping")
# PW-MCC must exceed that of fits to data without features by this factor to be worth the name
_LEAST_GAIN = 1.05


@doc_params
def feature_stability(
    adata: AnnData,
    *,
    n_seeds: int = 3,
    n_nulls: int = 2,
    key: str | None = None,
    max_epochs: int | None = None,
    rng: Rng = 0,
    device: str | None = None,
    key_added: str | None = None,
    show_progress_bar: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Fit again with other seeds and see which features come back.

    A sparse autoencoder always returns as many features as it was asked for. Those that are in the data are found again
    with another seed; those that are not are arbitrary. Refits use the settings, the rows and the number of active
    features of the stored model, another split into training and held-out rows, and other seeds.

    Parameters
    ----------
    {adata}
    n_seeds
        Refits. Each takes as long as a fit.
    n_nulls
        Fits to Gaussian data with the covariance of the real ones, in which there is nothing to find, as a reference: 0
        for none (then only random directions are), or at least two.
    {key}
    max_epochs
        Passes of each refit. None takes those of the model; fewer are faster, and features look less stable.
    {rng}
    {device}
    {key_added}
    {show_progress_bar}
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields:

    `adata.uns['sae' | key]['features']`
        Columns `stability` (mean over refits of the cosine with the most similar direction), `stability_codes` (mean
        correlation of the codes with those of that feature), `stability_share` (share of refits in which the feature is
        found: both are the most similar of each other, and the cosine exceeds `threshold`) and `stable` (found in more
        than half of the refits). Features that never fire have NaN and are not stable.
    `adata.uns['feature_stability' | key_added]['results']` : :class:`pandas.DataFrame`
        One row per feature that fires and refit: `feature`, `refit`, `cosine`, `correlation`, `mutual`, `found`.
    `adata.uns['feature_stability' | key_added]['pw_mcc']` : :class:`float`
        Mean over pairs of fits of the mean cosine of directions paired one to one.
    `adata.uns['feature_stability' | key_added]['pw_mcc_pairs']` : :class:`numpy.ndarray`
        The same for each pair `(1 + n_seeds, 1 + n_seeds)`, the stored model first.
    `adata.uns['feature_stability' | key_added]['pw_mcc_random']`, `['pw_mcc_null']` : :class:`numpy.ndarray`
        The same for random directions with the covariance of the data, a pair for each refit, and for each pair of fits
        to Gaussian data.
    `adata.uns['feature_stability' | key_added]['threshold']` : :class:`float`
        Cosine that 99 % of the most similar directions do not reach by chance, in the stricter of the two references.
    `adata.uns['feature_stability' | key_added]['share_stable']` : :class:`float`
        Of the features that fire.
    `adata.uns['feature_stability' | key_added]['params']` : :class:`dict`
        Arguments.

    Raises
    ------
    KeyError
        When there is no such fit, or the representation it was fitted on is gone.
    ValueError
        For settings that are not stored, as of a model of others, and for non-finite data.

    Warns
    -----
    saescape._warnings.SignificanceWarning
        When fits agree hardly more than those to data without features.

    Notes
    -----
    PW-MCC: :cite:t:`Song2025`; shares of features that come back: :cite:t:`Paulo2025`. Fits to the same rows share the
    accidents of the sample and agree more than random dictionaries even when there is nothing to find; with few rows
    per feature, much more. That is what `n_nulls` measures. A stable feature need not mean anything in biology, and a
    wide dictionary splits features, which makes them unstable although they are there:
    compare widths with :func:`saescape.tl.sae_sweep`.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> quick = {"max_epochs": 20, "show_progress_bar": False}
    >>> sae.tl.sae_fit(adata, 32, use_rep="X_pca", k=3, **quick)
    >>> sae.tl.feature_stability(adata, n_seeds=2, n_nulls=0, **quick)
    >>> bool(adata.uns["feature_stability"]["pw_mcc"] > adata.uns["feature_stability"]["pw_mcc_random"].max())
    True
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    check_integer("n_seeds", n_seeds)
    check_integer("n_nulls", n_nulls, 0)
    if n_nulls == 1:
        msg = "`n_nulls` must be 0 or at least 2, found 1: agreement needs two fits."
        raise ValueError(msg)
    if max_epochs is not None:
        check_integer("max_epochs", max_epochs)
    slot = feature_stability_key(key_added)
    _check_slot(adata, slot, key_added)
    features = stored_features(adata, key)
    stored = from_uns(adata, key)
    settings = _stored_settings(stored, key, max_epochs)

    from saescape.sae._data import hold_out_observations
    from saescape.sae._defaults import make_plan
    from saescape.sae._refit_stability import refit_stability

    from ._superposition_recoding import coded_rows

    rows = coded_rows(adata, stored)
    if rows is None:
        msg = (
            f"The representation that the model was fitted on ({stored.params.get('use_rep') or '`.X`'}) is not in "
            "`adata`, or has other dimensions."
        )
        raise KeyError(msg)
    batch_key = stored.params.get("batch_key")
    labels = None if batch_key is None else _group_labels(adata, batch_key)
    moments = rows.moments()
    seed, generator = rng_param(rng), as_generator(rng)
    groups = None if labels is None else labels.codes.astype(np.int64)
    n_positions = rows.n_positions or 1
    held_out = hold_out_observations(rows.n_obs, n_positions, rows.n_dims, generator, groups)
    plan = make_plan(rows.n_rows, rows.n_dims, n_train=int((~held_out).sum()) * n_positions, **settings)

    start = logg.info(f"fitting {n_seeds} times again, and {n_nulls} times to data without features")
    found = refit_stability(
        rows,
        stored.weights,
        plan,
        held_out,
        moments,
        n_seeds=n_seeds,
        n_nulls=n_nulls,
        rng=generator,
        device=resolve_device(device),
        show_progress_bar=show_progress_bar,
    )
    is_found = found.mutual & (found.cosine > found.threshold)
    columns = _columns(found, is_found, len(features.names))
    upper = np.triu_indices(1 + n_seeds, 1)
    pw_mcc = float(found.agreement[upper].mean())
    _warn(pw_mcc, found)

    adata = adata.copy() if copy else adata
    adata.uns[slot] = {
        "results": _results(found, is_found, features.names.astype(str)),
        "pw_mcc": pw_mcc,
        "pw_mcc_pairs": found.agreement,
        "pw_mcc_random": found.random,
        "pw_mcc_null": found.null,
        "threshold": found.threshold,
        "share_stable": float(columns["stable"].sum() / len(found.alive)),
        "params": {
            "key": key,
            "n_seeds": n_seeds,
            "n_nulls": n_nulls,
            "max_epochs": max_epochs,
            "n_steps": plan.n_steps,
            "rng": seed,
        },
    }
    add_columns(adata, features.keys, columns)
    logg.info(
        "    finished",
        time=start,
        deep=f"added\n    `.uns[{slot!r}]`, {int(columns['stable'].sum())} of {len(found.alive)} features are stable\n"
        f"    columns of `.uns[{features.keys.uns!r}]['features']`",
    )
    return adata if copy else None


def _stored_settings(stored: StoredSae, key: str | None, max_epochs: int | None) -> dict[str, Any]:
    params = stored.params
    missing = [name for name in _SETTINGS if name not in params]
    if missing:
        msg = f"The model {key or 'sae'!r} was not fitted by `sae.tl.sae_fit`: settings {missing} are not stored."
        raise ValueError(msg)
    settings = {name: params[name] for name in _SETTINGS}
    settings["early_stopping"] = bool(settings["early_stopping"])
    # a fixed penalty and a number of active features exclude each other
    l1_coef = params.get("l1_coef")
    settings |= {"l1_coef": l1_coef} if l1_coef is not None else {"k": int(params["k"])}
    if max_epochs is not None:
        settings["max_epochs"] = max_epochs
    return settings


def _columns(found: RefitStability, is_found: np.ndarray, n: int) -> dict[str, np.ndarray]:
    columns = {name: np.full(n, np.nan) for name in ("stability", "stability_codes", "stability_share")}
    columns["stability"][found.alive] = found.cosine.mean(1)
    columns["stability_codes"][found.alive] = found.correlation.mean(1)
    columns["stability_share"][found.alive] = is_found.mean(1)
    return columns | {"stable": columns["stability_share"] > 0.5}


def _results(found: RefitStability, is_found: np.ndarray, names: pd.Index) -> pd.DataFrame:
    n, n_refits = found.cosine.shape
    return pd.DataFrame(
        {
            "feature": np.repeat(names[found.alive], n_refits),
            "refit": np.tile(np.arange(n_refits), n),
            "cosine": found.cosine.ravel(),
            "correlation": found.correlation.ravel(),
            "mutual": found.mutual.ravel(),
            "found": is_found.ravel(),
        },
        index=[str(i) for i in range(n * n_refits)],
    )


def _warn(pw_mcc: float, found: RefitStability) -> None:
    chance = float(max(found.random.mean(), found.null.mean() if len(found.null) else 0.0))
    if pw_mcc < _LEAST_GAIN * chance:
        warnings.warn(
            f"Fits with different seeds agree (PW-MCC {pw_mcc:.2f}) hardly more than fits to data without features "
            f"({chance:.2f}); rely on features marked `stable` only. Fewer features or a smaller `k` may help.",
            SignificanceWarning,
            stacklevel=3,
        )
