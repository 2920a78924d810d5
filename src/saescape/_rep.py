"""Fetch the representation that a `tl` function works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._keys import IMAGE_UNS, TOKENS
from ._rows import RowSource
from ._validate import check_adata, require_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from ._typing import BoolArray


@dataclass(frozen=True)
class Representation:
    """A representation, where it came from and what its dimensions are called."""

    rows: RowSource
    names: np.ndarray
    use_rep: str | None
    layer: str | None
    mask_var: BoolArray | None = None

    @property
    def on_variables(self) -> bool:
        """Whether the dimensions are the variables of the AnnData (`.X` or a layer)."""
        return self.use_rep is None


def get_representation(
    adata: AnnData,
    use_rep: str | None = None,
    layer: str | None = None,
    *,
    mask_var: BoolArray | str | None = None,
    use_rep_name: str = "use_rep",
    adata_name: str = "adata",
) -> Representation:
    """Resolve `use_rep`, `layer` and `mask_var` of a public function, with errors that say what exists."""
    check_adata(adata, adata_name)
    if use_rep is not None and layer is not None:
        msg = f"`{use_rep_name}={use_rep!r}` and `layer={layer!r}` exclude each other; give one of them."
        raise ValueError(msg)
    if use_rep is not None:
        if mask_var is not None:
            msg = f"`mask_var` selects variables of `.X` or a layer and cannot be used with `{use_rep_name}`."
            raise ValueError(msg)
        data = require_key(adata, "obsm", use_rep, argument=use_rep_name, adata_name=adata_name)
        rows = RowSource(data, where=f"`{adata_name}.obsm[{use_rep!r}]`")
        return Representation(rows, _obsm_names(adata, use_rep, data, rows.n_dims), use_rep, None)

    if adata.n_vars == 0 or (layer is None and adata.X is None):
        msg = (
            f"`{adata_name}.X` is empty; give `{use_rep_name}` (available in `.obsm`: {list(adata.obsm.keys())}) "
            f"or `layer` (available: {list(adata.layers.keys())})."
        )
        raise ValueError(msg)
    where = f"`{adata_name}.X`" if layer is None else f"`{adata_name}.layers[{layer!r}]`"
    data = adata.X if layer is None else require_key(adata, "layers", layer, argument="layer", adata_name=adata_name)
    columns = _resolve_mask(adata, mask_var)
    names = np.asarray(adata.var_names, dtype=str)
    if columns is not None:
        names = names[columns]
    return Representation(RowSource(data, columns=columns, where=where), names, None, layer, columns)


def _obsm_names(adata: AnnData, use_rep: str, data: object, n_dims: int) -> np.ndarray:
    if hasattr(data, "columns"):
        return np.asarray(data.columns, dtype=str)
    # tokens of an image are positions of the same variables that `.X` holds pooled
    if use_rep == TOKENS and IMAGE_UNS in adata.uns and n_dims == adata.n_vars:
        return np.asarray(adata.var_names, dtype=str)
    stem = use_rep.removeprefix("X_")
    return np.array([f"{stem}_{i}" for i in range(n_dims)])


def _resolve_mask(adata: AnnData, mask_var: BoolArray | str | None) -> BoolArray | None:
    if mask_var is None:
        return None
    if isinstance(mask_var, str):
        mask = np.asarray(require_key(adata, "var", mask_var, argument="mask_var"))
    else:
        mask = np.asarray(mask_var)
    if mask.dtype != bool or mask.shape != (adata.n_vars,):
        msg = (
            f"`mask_var` must be boolean with one entry per variable ({adata.n_vars}), found {mask.dtype} {mask.shape}."
        )
        raise ValueError(msg)
    if not mask.any():
        msg = "`mask_var` selects no variable."
        raise ValueError(msg)
    return mask


def fitted_representation(adata: AnnData, fit: Mapping[str, Any]) -> Representation:
    """What a sparse autoencoder was fitted on, according to its entry in `.uns`."""
    params = dict(fit.get("params", {}))
    use_rep, layer = params.get("use_rep"), params.get("layer")
    mask = None
    if use_rep is None and "input_names" in fit and len(fit["input_names"]) < adata.n_vars:
        mask = np.isin(np.asarray(adata.var_names, dtype=str), np.asarray(fit["input_names"], dtype=str))
    return get_representation(adata, use_rep, layer, mask_var=mask)
