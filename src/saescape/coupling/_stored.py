"""A stored coupling: fetched from an AnnData and matched with its reference."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from saescape._keys import gw_keys
from saescape._validate import require_key
from saescape._warnings import SignificanceWarning

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._keys import GwKeys
    from saescape._typing import FloatArray

_ALPHA = 0.05


@dataclass(frozen=True)
class StoredCoupling:
    """What :func:`saescape.tl.gw_map` stored.

    `plan` is float64 `(n_obs, adata_ref.n_obs)`, its columns in the order of the reference as it is now; `mass` the sum
    of each row; `entry` the slot in `.uns`.
    """

    keys: GwKeys
    plan: sparse.csr_matrix
    mass: FloatArray
    entry: dict[str, Any]

    @property
    def pvalue(self) -> float:
        return float(self.entry.get("pvalue", np.nan))

    @property
    def ambiguous(self) -> bool:
        return bool(self.entry.get("ambiguous", False))

    @property
    def loss(self) -> float:
        return float(self.entry.get("gw_loss", np.nan))

    @property
    def label_accuracy(self) -> pd.DataFrame | None:
        table = self.entry.get("label_accuracy")
        return table if isinstance(table, pd.DataFrame) and len(table) else None

    def doubts(self) -> list[str]:
        """Why what is read from the coupling may be wrong; empty for a significant and unambiguous one."""
        reasons = []
        if not np.isfinite(self.pvalue):
            reasons.append("its significance was not tested (`n_nulls=0`)")
        elif self.pvalue > _ALPHA:
            reasons.append(f"unrelated data align as well (p = {self.pvalue:.2g})")
        if self.ambiguous:
            reasons.append("another optimum with about the same loss disagrees with it (`ambiguous`)")
        return reasons


def stored_coupling(adata: AnnData, adata_ref: AnnData, key: str | None) -> StoredCoupling:
    """Fetch the coupling `key`; cells of the reference are found by name.

    Raises
    ------
    KeyError
        If there is no such coupling.
    ValueError
        If names of the reference are not unique or cells of the coupling are missing there, or if the coupling is
        damaged.
    """
    keys = gw_keys(key)
    if key is not None and keys.uns not in adata.uns:
        call = f"`sae.tl.gw_map(adata, adata_ref, key_added={key!r})`"
        available = [name for name, value in adata.uns.items() if hasattr(value, "keys") and "ref_names" in value]
        msg = f"`key={key!r}`: no coupling of this name in `adata.uns` (couplings: {available}); run {call} first."
        raise KeyError(msg)
    entry = dict(require_key(adata, "uns", keys.uns))
    plan = sparse.csr_matrix(require_key(adata, "obsm", keys.coupling), dtype=np.float64, copy=True)
    where = f"`adata.obsm[{keys.coupling!r}]`"
    if plan.nnz and not (np.isfinite(plan.data).all() and plan.data.min() >= 0):
        msg = f"{where} has negative or non-finite entries and is no coupling; run `sae.tl.gw_map` again."
        raise ValueError(msg)
    plan.eliminate_zeros()
    if plan.nnz == 0:
        msg = f"{where} is empty: no cell has mass; run `sae.tl.gw_map` again."
        raise ValueError(msg)

    if not adata_ref.obs_names.is_unique:
        n_repeated = int(adata_ref.obs_names.duplicated().sum())
        msg = (
            f"`adata_ref.obs_names` are not unique ({n_repeated} repeated); cells are found by name. Give the "
            "reference that the coupling was computed with."
        )
        raise ValueError(msg)
    # strings of zarr files come in a dtype of their own
    names = pd.Index(np.asarray(entry.get("ref_names", [])).astype(object))
    if len(names) != plan.shape[1]:
        msg = (
            f"{where} has {plan.shape[1]} columns, but `adata.uns[{keys.uns!r}]['ref_names']` {len(names)} names; they "
            "must come from the same run of `sae.tl.gw_map`."
        )
        raise ValueError(msg)
    place = adata_ref.obs_names.get_indexer(names)
    missing = names[place < 0]
    if len(missing):
        msg = (
            f"`adata_ref` must hold the {len(names)} cells that {where} was computed with; {len(missing)} are missing, "
            f"such as {missing[0]!r}."
        )
        raise ValueError(msg)
    if len(names) != adata_ref.n_obs or not np.array_equal(place, np.arange(len(names))):
        # names are unique in the reference: no two columns fall together
        plan = sparse.csr_matrix((plan.data, place[plan.indices], plan.indptr), (plan.shape[0], adata_ref.n_obs))
        plan.sort_indices()
    return StoredCoupling(keys, plan, np.asarray(plan.sum(1)).ravel(), entry)


def labels_in_favour(label_accuracy: pd.DataFrame | None) -> str:
    """Sentences on the known labels that agree with the coupling more than by chance."""
    if label_accuracy is None or "pvalue" not in label_accuracy:
        return ""
    return "".join(
        f" The labels in `adata.obs[{column!r}]` agree with it more than by chance (p = {pvalue:.2g})."
        for column, pvalue in label_accuracy["pvalue"].items()
        if pvalue <= _ALPHA
    )


def warn_about(coupling: StoredCoupling) -> None:
    """Say once what a caller's result may suffer from."""
    n_empty = int(np.sum(coupling.mass == 0))
    if n_empty:
        msg = (
            f"{n_empty} of {len(coupling.mass)} cells have no mass in `adata.obsm[{coupling.keys.coupling!r}]`; their "
            "values are missing (NaN)."
        )
        warnings.warn(msg, UserWarning, stacklevel=3)
    reasons = coupling.doubts()
    if reasons:
        msg = f"Values carried over through this coupling may be wrong: {' and '.join(reasons)}."
        msg += labels_in_favour(coupling.label_accuracy)
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
