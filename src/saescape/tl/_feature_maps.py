from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._keys import feature_maps_key, sae_keys
from saescape._logging import logg
from saescape._rows import RowSource
from saescape._store import from_uns
from saescape._stored_features import feature_positions
from saescape._validate import check_adata, check_choice, check_copy, check_integer, require_key
from saescape.maps._grid import tokens_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from saescape._typing import IntArray


@doc_params
def feature_maps(
    adata: AnnData,
    features: str | int | Sequence[str | int],
    *,
    key: str | None = None,
    n_top: int = 16,
    exemplars: Literal["top", "range"] = "top",
    groupby: str | None = None,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Show where in the crops of its exemplars a feature is active.

    Needs a sparse autoencoder that was fitted on the tokens of images
    (``sae.pp.image_to_adata(..., tokens=True)``). Every position of a crop has its own code; the code of the
    observation is their mean. A position stands for a square of pixels, and for what the encoder sees around it.

    Parameters
    ----------
    {adata}
    features
        Names (`"sae_12"`) or numbers of features.
    {key}
    n_top
        Exemplars per feature, or per feature and group.
    exemplars
        `"top"`: the observations in which the feature is most active. `"range"`: observations over the whole range of
        its activations, at evenly spaced ranks; what is weak often means something else than what is strong.
        Observations in which it is not active are never exemplars, so there can be fewer than `n_top`.
    groupby
        Column of `.obs`: exemplars of each group; those without a value are left out.
    key_added
        Name in `.uns`; None for `"feature_maps"`.
    {copy}

    Returns
    -------
    None, or the changed copy with `copy=True`. Sets

    `.uns['feature_maps']`
        `maps` :class:`numpy.ndarray` (dtype `float32`, `(n_maps, h, w)`), the activation at each position, in the units
        of the tokens; `table` :class:`pandas.DataFrame` with `feature`, `obs_name`, `group` (`"all"` without
        `groupby`), `rank` (from 0 within feature and group), `activation` (of the observation: the mean of the map) and
        `highest` (of its positions) of each map; and `params`. Maps of the same feature lie one after the other.

    Raises
    ------
    KeyError
        No fitted sparse autoencoder, tokens or column, or no such feature.
    ValueError
        If the autoencoder was not fitted on tokens of images, for a number that is none of a feature, or if none of
        the features is active anywhere.

    Examples
    --------
    >>> import numpy as np, saescape as sae
    >>> image = np.random.default_rng(0).poisson(100, (2, 96, 96)).astype(np.uint16)
    >>> adata = sae.pp.image_to_adata(image, tile_size=32, encoder="filters", tokens=True, show_progress_bar=False)
    >>> sae.tl.sae_fit(adata, 32, use_rep="tokens", k=2, max_epochs=3, show_progress_bar=False)
    >>> sae.tl.feature_maps(adata, [0, 1, 2, 3], n_top=2)
    >>> adata.uns["feature_maps"]["maps"].shape[1:]
    (8, 8)
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    check_integer("n_top", n_top)
    check_choice("exemplars", exemplars, ["top", "range"])
    keys = sae_keys(key)
    stored = from_uns(adata, key)
    coded = require_key(adata, "obsm", keys.obsm, argument=None if key is None else "key")
    use_rep = stored.params.get("use_rep")
    found = tokens_of(adata, use_rep)
    if found is None:
        msg = (
            f"`key`: the sparse autoencoder was fitted on `use_rep={use_rep!r}`, which holds no tokens of images; fit "
            "one by `sae.tl.sae_fit(adata, use_rep='tokens')` after `sae.pp.image_to_adata(..., tokens=True)`."
        )
        raise ValueError(msg)
    n_features, n_dims = stored.weights.n_features, stored.weights.n_dims
    if found[0].shape[-1] != n_dims or coded.shape[1] != n_features:
        msg = (
            f"`key`: the sparse autoencoder has {n_dims} inputs and {n_features} features, but "
            f"`adata.obsm[{use_rep!r}]` has {found[0].shape[-1]} dimensions and `adata.obsm[{keys.obsm!r}]` "
            f"{coded.shape[1]} features; run `sae.tl.sae_fit` again."
        )
        raise ValueError(msg)
    known = (
        [f"sae_{i}" for i in range(n_features)] if stored.features is None else list(map(str, stored.features.index))
    )
    numbers = list(dict.fromkeys(feature_positions(features, known, "features").tolist()))
    names = [known[i] for i in numbers]
    groups: IntArray | None = None
    group_names = ["all"]
    if groupby is not None:
        column = require_key(adata, "obs", groupby, argument="groupby").astype("category")
        groups, group_names = column.cat.codes.to_numpy().astype(np.int64), list(map(str, column.cat.categories))
        if not group_names:
            msg = f"`groupby`: every value of `adata.obs[{groupby!r}]` is missing."
            raise ValueError(msg)
    adata = adata.copy() if copy else adata

    from saescape.get import sae
    from saescape.maps._exemplars import exemplar_rows
    from saescape.maps._token_maps import token_maps

    start = logg.info("mapping features onto crops")
    source = RowSource(coded, columns=np.array(numbers), where=f"`adata.obsm[{keys.obsm!r}]`")
    activations = source.read_all()
    rows_of = [exemplar_rows(column, n_top, groups, spread=exemplars == "range") for column in activations.T]
    rows = np.concatenate(rows_of)
    if not len(rows):
        msg = f"`features`: none of {names[:5]} is active in any observation; there is nothing to map."
        raise ValueError(msg)
    sizes = [len(one) for one in rows_of]
    at = np.repeat(np.arange(len(numbers)), sizes)
    maps = token_maps(sae(adata, key=key), *found, rows, np.array(numbers)[at])
    of_group = np.zeros_like(rows) if groups is None else groups[rows]
    table = pd.DataFrame(
        {
            "feature": pd.Categorical.from_codes(at, categories=names),
            "obs_name": adata.obs_names[rows].astype(str),
            "group": pd.Categorical.from_codes(of_group, categories=group_names),
            "activation": activations[rows, at].astype(np.float64),
            "highest": maps.max((1, 2)).astype(np.float64),
        }
    )
    table.insert(3, "rank", table.groupby(["feature", "group"], observed=True).cumcount())
    name = feature_maps_key(key_added)
    adata.uns[name] = {
        "maps": maps,
        "table": table.set_index(pd.Index([str(i) for i in range(len(table))])),
        "params": {
            "key": keys.uns,
            "n_top": n_top,
            "exemplars": exemplars,
            "groupby": groupby or "",
            "version": version("saescape"),
        },
    }
    logg.info(
        f"    finished: {len(maps)} maps of {len(numbers)} features", time=start, deep=f"added\n    `.uns[{name!r}]`"
    )
    return adata if copy else None
