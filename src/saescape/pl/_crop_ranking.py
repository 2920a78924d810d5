"""Which observations have the largest values of a feature, a column or a variable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pandas.api.types import is_numeric_dtype

from saescape._keys import sae_keys
from saescape._rows import RowSource
from saescape._stored_features import feature_positions
from saescape._validate import require_key
from saescape.maps._exemplars import top_rows

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._typing import FloatArray, IntArray


class Ranked(NamedTuple):
    """Observations with the largest values, the largest first."""

    label: str
    values: FloatArray
    top: IntArray


def rank_observations(adata: AnnData, features: Any, key: str | None, n_top: int) -> list[Ranked]:
    """Resolve features of the sparse autoencoder, numeric columns of `obs` and variables, and rank by each.

    Observations in which a feature of the autoencoder is not active, or a value is missing, are left out.
    """
    listed = [features] if isinstance(features, str | int | np.integer) else list(features)
    if not listed:
        msg = "`features` is empty."
        raise ValueError(msg)
    codes, known = _codes(adata, key, listed)
    numbers: dict[int, int] = {}
    for position, feature in enumerate(listed):
        if isinstance(feature, str) and feature not in known:
            _check_other(adata, feature, known)
        else:
            numbers[position] = int(feature_positions(feature, known, "features")[0])
    wanted = list(numbers.values())
    activations = np.empty((adata.n_obs, 0)) if codes is None or not wanted else _columns(codes, wanted)
    of_feature = dict(zip(numbers, activations.T, strict=True)) if wanted else {}
    ranked = []
    for position, feature in enumerate(listed):
        if position in of_feature:
            values = of_feature[position]
            share = np.mean(values > 0)
            label = f"{known[numbers[position]]}\n{f'{100 * share:.3g}% active' if share else 'never active'}"
            ranked.append(Ranked(label, values, top_rows(values, n_top, above=0.0)))
            continue
        values = np.asarray(adata.obs_vector(feature), dtype=np.float64)
        ranked.append(Ranked(str(feature), values, top_rows(values, n_top, above=-np.inf)))
    return ranked


def _codes(adata: AnnData, key: str | None, listed: list[Any]) -> tuple[RowSource | None, list[str]]:
    """Codes of the autoencoder and names of its features; None when there is none and none is needed."""
    name = sae_keys(key).obsm
    others = all(isinstance(one, str) and (one in adata.obs or one in adata.var_names) for one in listed)
    if key is None and name not in adata.obsm and others:
        return None, []
    codes = RowSource(require_key(adata, "obsm", name, argument="key"), where="`adata.obsm`")
    model = adata.uns.get(sae_keys(key).uns, {})
    known = [str(feature) for feature in model["features"].index] if "features" in model else []
    return codes, known if len(known) == codes.n_dims else [f"sae_{i}" for i in range(codes.n_dims)]


def _check_other(adata: AnnData, feature: str, known: list[str]) -> None:
    if feature in adata.obs:
        if not is_numeric_dtype(adata.obs[feature]):
            msg = f"`features`: column {feature!r} of `adata.obs` is not numeric ({adata.obs[feature].dtype})."
            raise TypeError(msg)
    elif feature not in adata.var_names:
        msg = (
            f"`features`: {feature!r} is none of the {len(known)} features {known[0]!r} ... {known[-1]!r}, and in "
            "neither `adata.obs` nor `adata.var_names`."
        )
        raise KeyError(msg)


def _columns(codes: RowSource, indices: list[int]) -> np.ndarray:
    """(n_obs, len(indices)) activations, read by blocks."""
    return np.concatenate([block[:, indices] for _, block in codes.blocks()])
