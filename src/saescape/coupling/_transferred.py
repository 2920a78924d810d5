"""Values that were carried over by a coupling, and the record that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._keys import GwTransferKeys
    from saescape._typing import FloatArray

    from ._stored import StoredCoupling


class Transferred:
    """Results of one call, written all at once."""

    def __init__(self, coupling: StoredCoupling) -> None:
        self.coupling = coupling
        self.values: dict[tuple[str, str], Any] = {}
        self._records: dict[str, dict[str, Any]] = {}

    def add(self, attr: str, name: str, value: Any, source: str, share: FloatArray | None = None) -> None:
        """Take a result, where it came from in the reference, and the share of each cell's mass that it rests on."""
        self.values[attr, name] = value
        if attr == "uns":
            return
        mass = self.coupling.mass
        carried = mass.copy() if share is None else mass * share
        self._records[_slot(attr, name)] = {
            "source": source,
            "n_missing": int(np.sum(carried == 0)),
            "mass": float(carried.sum() / mass.sum()),
            **record(self.coupling),
        }

    def write(self, adata: AnnData, keys: GwTransferKeys, params: dict[str, Any]) -> None:
        """Write all slots; earlier records are kept as long as their slots are there."""
        table = pd.DataFrame.from_dict(self._records, orient="index")
        entry = adata.uns.get(keys.uns)
        before = entry.get("slots") if hasattr(entry, "keys") else None
        if isinstance(before, pd.DataFrame) and list(before.columns) == list(table.columns):
            present = {_slot(attr, name) for attr in ("obs", "obsm") for name in getattr(adata, attr)}
            kept = before[before.index.isin(present) & ~before.index.isin(table.index)]
            table = pd.concat([kept, table]) if len(kept) else table
        for (attr, name), value in self.values.items():
            getattr(adata, attr)[name] = value
        adata.uns[keys.uns] = {
            "transferred": True,
            "slots": table,
            **label_record(self.coupling),
            "params": params,
        }


def expression_source(layer: str | None, *, use_raw: bool) -> str:
    """Where expression came from."""
    if use_raw:
        return "raw.X"
    return "X" if layer is None else f"layers[{layer!r}]"


def record(coupling: StoredCoupling) -> dict[str, Any]:
    """How far the coupling can be trusted, kept beside what was carried over by it."""
    return {"gw_loss": coupling.loss, "pvalue": coupling.pvalue, "ambiguous": coupling.ambiguous}


def label_record(coupling: StoredCoupling) -> dict[str, pd.DataFrame]:
    """How well the coupling agrees with labels known on both sides, where there are any."""
    table = coupling.label_accuracy
    return {} if table is None else {"label_accuracy": table.copy()}


def _slot(attr: str, name: str) -> str:
    return f"{attr}[{name!r}]"
