"""What `tl.gw_map` makes of batches: columns read on both sides, the table of refits, and what to warn about."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from saescape._logging import logg
from saescape._validate import missing_key, require_key
from saescape._warnings import SignificanceWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anndata import AnnData

    from saescape._typing import IntArray
    from saescape.transport._batches import FullMap, LeaveOut

    from ._gw_map_inputs import Labels

_SIDES = ("adata", "adata_ref")
# as for two optima: below, it is another map
_AGREES = 0.8
_MAX_NAMED = 5


@dataclass(frozen=True)
class Batches:
    """Batch of each cell of the two sides as codes from 0 and their names; None for a side without batches."""

    codes: tuple[IntArray | None, IntArray | None]
    names: tuple[list[str], list[str]]

    @property
    def given(self) -> bool:
        """Whether any side has batches."""
        return any(codes is not None for codes in self.codes)

    def n_refits(self) -> int:
        """Refits that the leave-out takes."""
        from saescape.transport._batches import MAX_REFITS

        return 2 * sum(min(len(names), MAX_REFITS) for names in self.names)


def read_batches(adata: AnnData, adata_ref: AnnData, batch_key: str | None, batch_key_ref: str | None) -> Batches:
    """Columns with batches; `batch_key` alone is looked up on both sides.

    Raises
    ------
    KeyError
        If a column does not exist.
    ValueError
        For missing values, or if there is a single batch on each side.
    """
    if batch_key is None and batch_key_ref is None:
        return Batches((None, None), ([], []))
    wanted = [batch_key, batch_key_ref]
    if batch_key_ref is None:
        wanted = [batch_key if batch_key in side.obs else None for side in (adata, adata_ref)]
        if wanted == [None, None]:
            available = [*adata.obs.columns, *(c for c in adata_ref.obs.columns if c not in adata.obs)]
            raise missing_key(str(batch_key), "adata.obs` or `adata_ref.obs", available, argument="batch_key")
    codes: list[IntArray | None] = [None, None]
    names: tuple[list[str], list[str]] = ([], [])
    for i, (side, column, argument) in enumerate(
        zip((adata, adata_ref), wanted, ("batch_key", "batch_key_ref"), strict=True)
    ):
        if column is None:
            continue
        values = require_key(side, "obs", column, argument=argument, adata_name=_SIDES[i])
        if values.isna().any():
            msg = (
                f"`{argument}={column!r}`: the batch of {int(values.isna().sum())} cells is missing in "
                f"`{_SIDES[i]}.obs[{column!r}]`; leave these cells out, or give them a batch of their own."
            )
            raise ValueError(msg)
        found = values.astype("category").cat.remove_unused_categories().cat
        if len(found.categories) > 1:
            codes[i] = found.codes.to_numpy(np.int64)
            names[i].extend(found.categories.astype(str))
    if codes[0] is None and codes[1] is None:
        msg = f"`batch_key={batch_key!r}`, `batch_key_ref={batch_key_ref!r}`: all cells of a side are of one batch."
        raise ValueError(msg)
    return Batches((codes[0], codes[1]), names)


def refit_without_batches(
    full: FullMap,
    batches: Batches,
    labels: Sequence[Labels],
    rng: np.random.Generator,
    step: Callable[[], object],
) -> pd.DataFrame | None:
    """Leave each batch out in turn: a row of losses and agreements for each; None without batches."""
    if not batches.given:
        return None
    from saescape.transport._batches import MAX_REFITS, leave_out

    for names, side in zip(batches.names, _SIDES, strict=True):
        if len(names) > MAX_REFITS:
            logg.info(f"    `{side}` has {len(names)} batches; they are left out in {MAX_REFITS} random groups")
    found = leave_out(full, batches.codes, rng, step)
    columns = {
        "side": [_SIDES[f.side] for f in found],
        "batch": [", ".join(batches.names[f.side][b] for b in f.batches) for f in found],
        "n_obs": [_count(f, batches) for f in found],
        "loss": [f.loss for f in found],
        "agreement": [f.agreement for f in found],
        "random_agreement": [f.random_agreement for f in found],
    }
    for i, label in enumerate(labels):
        columns[f"same_{label.column}"] = [f.same_label[i] for f in found]
    return pd.DataFrame(columns, index=[str(i) for i in range(len(found))])


def _count(found: LeaveOut, batches: Batches) -> int:
    codes = batches.codes[found.side]
    return 0 if codes is None else int(np.isin(codes, found.batches).sum())


def warn_of_batches(table: pd.DataFrame | None) -> None:
    """Name the batches without which the map is another one, unless random cells matter as much."""
    if table is None:
        return
    changed = table[table["agreement"] < _AGREES].sort_values("agreement")
    n_refits, n_changed = len(table), len(changed)
    n_random = int((table["random_agreement"] < _AGREES).sum())
    if n_changed > n_random:
        shown = [
            f"{row.batch!r} of `{row.side}` ({row.agreement:.2f})" for row in changed.head(_MAX_NAMED).itertuples()
        ]
        more = ", ..." if n_changed > _MAX_NAMED else ""
        msg = (
            f"Without {n_changed} of {n_refits} batches the map is another one (agreement below {_AGREES}): "
            f"{', '.join(shown)}{more}. Without as many cells drawn at random it is another one in {n_random} of "
            f"{n_refits} refits."
        )
    elif n_changed + n_random > n_refits:
        msg = (
            f"The map is not stable: it is another one (agreement below {_AGREES}) without {n_changed} of {n_refits} "
            f"batches, and in {n_random} of {n_refits} refits without as many cells drawn at random."
        )
    else:
        return
    warnings.warn(msg, SignificanceWarning, stacklevel=3)
