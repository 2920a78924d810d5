from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._keys import steer_keys
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._stored_features import group_codes, stored_features
from saescape._validate import check_adata, check_choice, check_copy, check_integer, check_real
from saescape._warnings import SignificanceWarning
from saescape.steering._edit import MODES, code_change

from ._feature_match import _check_slot
from ._steer_inputs import steerable, variable_decoder
from ._steer_tables import Steering

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anndata import AnnData

    from saescape._typing import Rng

# rows on which a decoder is tried
_PROBE = 2


@doc_params
def steer(
    adata: AnnData,
    feature: str | int | Sequence[str | int],
    factor: float | Sequence[float] | None = None,
    *,
    mode: Literal["scale", "set", "add", "ablate"] = "scale",
    keep_error: bool = True,
    decoder: Callable[[Any], Any] | None = None,
    groupby: str | None = None,
    batch_key: str | None = None,
    n_controls: int = 10,
    n_neighbors: int = 15,
    key: str | None = None,
    rng: Rng = 0,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Change features and see what it does to the representation, the genes and the place among real cells.

    ``x' = x + (z' - z) @ W_dec``: what the sparse autoencoder does not reconstruct stays as it is, so that an edit that
    changes nothing gives back the data bit by bit. With 3-D tokens each position is edited.

    Parameters
    ----------
    {adata}
    feature
        Name or number of a feature, or several that are changed together.
    factor
        The dose, or several (a dose curve). Not for `mode="ablate"`.
    mode
        New codes: `"scale"`, `factor` times the code; `"set"`, `factor` in every cell; `"add"`, `factor` more (codes
        stay non-negative); `"ablate"`, 0. `factor` has the units of the codes, those of the representation.
    keep_error
        Keep what is not reconstructed. False steers the reconstruction ``z @ W_dec + b_dec`` instead.
    decoder
        Function from rows of the representation (n, d), float32, to variables (n, n_variables), an array or a
        DataFrame with names: the decoder of a model such as scVI. Without it, variables are the input itself (`.X`, a
        layer or tokens of the variables) or follow from `.varm['PCs']` with `X_pca`; with other representations there
        are no effects on variables. Tokens are averaged before it.
    groupby
        Column of `.obs` with labels: among cells of which label do steered cells lie?
    batch_key
        Column of `.obs` with the unit of independence (plate, donor, well), for statistics on the variables.
    n_controls
        Features that fire about as often, and random directions with the covariance of the data, to compare with.
        Cell by cell their shifts are as long as those of the feature.
    n_neighbors
        Nearest real cells for `distance_ratio` and `groupby`.
    {key}
    {rng}
    {key_added}
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields; with several doses the slot of each
    ends in `_` and the dose, such as `X_steered_0.5`:

    `adata.obsm['X_steered' | key_added]` : :class:`numpy.ndarray`
        Steered representation, when the model was fitted on one.
    `adata.layers['steered' | key_added]`
        The same for all variables, when the model was fitted on `.X` or a layer (sparse where it is).
    `adata.uns['steer' | key_added]['doses']` : :class:`pandas.DataFrame`
        One row per dose and kind, `feature`, `random_feature` and `random_direction` (means over controls): `factor`,
        `kind`, `n_changed` (cells whose codes change), `shift` (mean length), `distance_ratio` (mean distance to the
        nearest real cells other than the source, relative to that of the cells before), `off_manifold` (the ratio
        exceeds 2).
    `adata.uns['steer' | key_added]['effects']` : :class:`pandas.DataFrame`
        One row per dose and variable, over the cells whose codes change: `factor`, `variable`, `effect` (mean change,
        over groups with `batch_key`), `effect_sd` (over groups), `n_groups`, `statistic` and `pvalue` (t test of the
        changes of groups against 0, NaN below three groups), `qvalue` (Benjamini-Hochberg within the dose), `control`
        (root mean square of the effects of the random directions) and `specificity` (absolute effect in multiples of
        it).
    `adata.uns['steer' | key_added]['labels']` : :class:`pandas.DataFrame`
        With `groupby`, one row per dose and label: `factor`, `label`, `share_before` and `share_after` (of the
        neighbours of steered cells), `change`, and the mean absolute change of the controls, `random_feature` and
        `random_direction`.
    `adata.uns['steer' | key_added]['params']` : :class:`dict`
        Arguments, `features`, `path` to the variables (`"variables"`, `"PCs"`, `"decoder"` or `"none"`), and
        `control_features`.

    Raises
    ------
    KeyError
        When the fit, a feature, its representation or a column does not exist.
    TypeError
        When `decoder` is not callable.
    ValueError
        For a missing or negative `factor`, doses given twice, a decoder whose result does not fit, and missing groups.

    Warns
    -----
    saescape._warnings.SignificanceWarning
        With `batch_key` and fewer than three groups in which codes change.

    Notes
    -----
    Steering changes the model's description of a cell, not the cell: effects are predictions, and where
    `off_manifold` is set they are extrapolations. On a linear path the changes of all variables are proportional to one
    number per group, so that with one feature all variables have the same p-value up to sign: it says whether codes
    change alike in the groups, not whether a gene is regulated. Read `specificity` beside it.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 32, use_rep="X_pca", max_epochs=20, show_progress_bar=False)
    >>> feature = adata.uns["sae"]["features"]["frac_active"].idxmax()
    >>> sae.tl.steer(adata, feature, [1, 2])
    >>> bool((adata.obsm["X_steered_1"] == adata.obsm["X_pca"]).all())
    True
    >>> adata.uns["steer"]["doses"]["kind"].head(3).tolist()
    ['feature', 'random_feature', 'random_direction']
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    check_choice("mode", mode, MODES)
    check_integer("n_controls", n_controls, 0)
    check_integer("n_neighbors", n_neighbors)
    doses = _doses(factor, mode)
    slots = steer_keys(key_added)
    _check_slot(adata, slots.uns, key_added)
    features = stored_features(adata, key)
    wanted = [feature] if isinstance(feature, str | int | np.integer) else list(feature)
    chosen = features.positions(wanted, "feature")
    if len(chosen) == 0 or len(np.unique(chosen)) < len(chosen):
        msg = f"`feature` must name one or more different features, found {wanted}."
        raise ValueError(msg)
    groups = None if groupby is None else group_codes(adata, groupby, "groupby")
    batches, _ = group_codes(adata, batch_key, "batch_key")
    source, rep = steerable(adata, features, key)
    overwritten = {rep.use_rep, features.keys.obsm} if rep.use_rep is not None else {rep.layer}
    if key_added is not None and key_added in overwritten:
        msg = f"`key_added={key_added!r}` would overwrite what is steered; choose another name."
        raise ValueError(msg)
    pooled = source.pooled(source.rows)
    path, names, kind = variable_decoder(adata, rep, decoder, _dense(pooled[:_PROBE]))

    start = logg.info(f"steering {', '.join(map(str, features.names[chosen]))} ({mode})")
    seed, generator = rng_param(rng), as_generator(rng)
    steering = Steering.prepare(
        pooled, source.decoder, features, chosen, n_controls=n_controls, n_neighbors=n_neighbors, rng=generator
    )
    written, tables = {}, []
    for dose in doses:
        change = code_change(source.codes, chosen, mode, 0.0 if dose is None else dose)
        name = None if len(doses) == 1 else dose
        written[slots.dose(slots.layer if rep.on_variables else slots.obsm, name)] = source.edited(
            chosen, change, keep_error=keep_error
        )
        tables.append(
            steering.measure(
                source.pooled(change), 0.0 if dose is None else dose, groups=groups, batches=batches, path=path
            )
        )
    if batch_key is not None:
        _warn_few_groups(max(table.n_groups for table in tables), batch_key)

    adata = adata.copy() if copy else adata
    for slot, value in written.items():
        (adata.layers if rep.on_variables else adata.obsm)[slot] = value
    entry: dict[str, Any] = {
        "doses": _joined([table.doses for table in tables]),
        "effects": _joined([table.effects_of(names) for table in tables]),
        "params": {
            "features": features.names[chosen].astype(str).to_numpy().astype(object),
            "factor": np.array([np.nan if dose is None else dose for dose in doses]),
            "mode": mode,
            "keep_error": keep_error,
            "groupby": groupby,
            "batch_key": batch_key,
            "n_controls": n_controls,
            "n_neighbors": n_neighbors,
            "key": key,
            "path": kind,
            "control_features": features.names[steering.similar].astype(str).to_numpy().astype(object),
            "rng": seed,
        },
    }
    if groups is not None:
        entry["labels"] = _joined([table.labels for table in tables])
    adata.uns[slots.uns] = entry
    place = "layers" if rep.on_variables else "obsm"
    added = "".join(f"    `.{place}[{slot!r}]`, steered rows\n" for slot in written)
    logg.info("    finished", time=start, deep=f"added\n{added}    `.uns[{slots.uns!r}]`, doses and effects")
    return adata if copy else None


def _doses(factor: Any, mode: str) -> list[float | None]:
    if mode == "ablate":
        if factor is not None:
            msg = "`factor` has no meaning with `mode='ablate'`; leave it out."
            raise ValueError(msg)
        return [None]
    if factor is None:
        msg = f"`factor` is needed with `mode={mode!r}`."
        raise ValueError(msg)
    values = list(factor) if hasattr(factor, "__iter__") and not isinstance(factor, str) else [factor]
    low = -np.inf if mode == "add" else 0.0
    doses = [check_real("factor", value, low, open_low=False) for value in values]
    if not doses or len({f"{dose:g}" for dose in doses}) < len(doses):
        msg = f"`factor` must hold one or more different doses, found {values}."
        raise ValueError(msg)
    return list(doses)


def _dense(rows: Any) -> np.ndarray:
    return np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows)


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(tables, ignore_index=True)
    table.index = table.index.astype(str)
    return table


def _warn_few_groups(n_groups: int, batch_key: str) -> None:
    from saescape.steering._effects import MIN_GROUPS

    if n_groups < MIN_GROUPS:
        msg = (
            f"Codes change in {n_groups} groups of `batch_key={batch_key!r}`; at least {MIN_GROUPS} are needed for a "
            "test, so that there are effects without p-values."
        )
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
