"""What `tl.gw_map` leaves behind: slots and warnings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from saescape._logging import logg
from saescape._warnings import ConvergenceWarning, SignificanceWarning
from saescape.coupling._stored import labels_in_favour

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from anndata import AnnData

    from saescape._keys import GwKeys
    from saescape._typing import IntArray
    from saescape.transport._align import Alignment
    from saescape.transport._significance import NullTest

    from ._gw_map_inputs import Labels

_MAX_MARGINAL_ERROR = 0.05


def summary(alignment: Alignment, nulls: NullTest, *, ambiguous: bool) -> dict[str, Any]:
    """Entries of `uns['gw_map']` that do not depend on labels."""
    from saescape.transport._significance import NULLS

    tables = {}
    for name, starts in (("starts", alignment.starts), ("optima", alignment.optima)):
        tables[name] = pd.DataFrame(
            {"start": starts.kinds, "loss": starts.loss, "agreement": starts.agreement},
            index=[str(i) for i in range(len(starts.kinds))],
        )
    return {
        "gw_loss": alignment.loss,
        **tables,
        "ambiguous": bool(ambiguous),
        "pvalue": nulls.pvalue,
        "null_loss": nulls.deciding_loss,
        "nulls": pd.DataFrame(
            dict(zip(NULLS, nulls.null_loss, strict=True)),
            index=[str(i) for i in range(nulls.null_loss.shape[1])],
        ),
        "null_observed": nulls.loss,
        "marginal_error": alignment.readout.marginal_error,
        "dropped_mass": alignment.readout.dropped_mass,
        "converged": bool(alignment.converged),
        "n_links": np.array(alignment.n_links),
    }


def write(
    adata: AnnData,
    keys: GwKeys,
    alignment: Alignment,
    labels: list[Labels],
    result: dict[str, Any],
    rng: np.random.Generator,
    *,
    used: Sequence[str] = (),
    mass: bool = False,
) -> None:
    """Transferred labels and their accuracy, and all slots; nothing is written before all is computed.

    Columns `used` for the coupling have no p-value; `mass` asks for the cells' mass too.
    """
    from saescape.metrics import label_transfer_accuracy

    projection, *shares = alignment.readout.projections
    accuracy: dict[str, dict[str, float]] = {}
    columns: dict[str, Any] = {keys.confidence: alignment.readout.confidence, keys.distortion: alignment.distortion}
    if mass:
        columns[keys.mass] = (alignment.readout.row_mass * adata.n_obs).astype(np.float32)
    for label, share in zip(labels, shares, strict=True):
        winner = np.where(share.max(1) > 0, share.argmax(1), -1)
        predicted = pd.Categorical.from_codes(winner, categories=label.categories)
        columns[keys.label(label.column)] = predicted
        columns[keys.label_prob(label.column)] = share.max(1).astype(np.float32)
        if label.column in adata.obs and _shares_names(adata.obs[label.column], label):
            truth = adata.obs[label.column]
            accuracy[label.column] = {
                "balanced_accuracy": label_transfer_accuracy(truth, predicted),
                "accuracy": label_transfer_accuracy(truth, predicted, balanced=False),
                "chance": 1 / truth.nunique(),
                "pvalue": float("nan") if label.column in used else _name_pvalue(truth, label, winner, rng),
                "used": label.column in used,
            }
    if accuracy:
        result["label_accuracy"] = pd.DataFrame.from_dict(accuracy, orient="index")
    adata.obsm[keys.coupling] = alignment.readout.coupling
    adata.obsm[keys.projection] = projection
    for name, values in columns.items():
        adata.obs[name] = values
    adata.uns[keys.uns] = result


def _shares_names(truth: pd.Series, label: Labels) -> bool:
    """Whether labels can be compared; says in the log where names differ altogether."""
    known = truth.dropna().astype(str)
    if len(known) == 0:
        return False
    shared = bool(known.isin(label.categories).any())
    if not shared:
        logg.warning(
            f"`obs={label.column!r}`: no label of `adata.obs[{label.column!r}]` (such as {known.iloc[0]!r}) is one of "
            f"`adata_ref.obs[{label.column!r}]` (such as {label.categories[0]!r}); no accuracy is reported."
        )
    return shared


def log_links(n_links: tuple[int, int]) -> None:
    """Say in the log that a neighbour graph was not connected."""
    for name, number in zip(("adata", "adata_ref"), n_links, strict=True):
        if number:
            logg.info(
                f"    the neighbor graph of `{name}` had {number + 1} components, joined by their shortest links"
                " (`n_links`)"
            )


def _name_pvalue(truth: pd.Series, label: Labels, predicted: IntArray, rng: np.random.Generator) -> float:
    from saescape.transport._label_test import name_pvalue, recalls

    # compared as text, as the accuracy is; labels that the reference lacks say nothing about the names
    codes = label.categories.get_indexer(pd.Index(truth.astype(str).where(truth.notna())))
    return name_pvalue(recalls(codes, predicted, len(label.categories)), rng)


def warn(
    alignment: Alignment, nulls: NullTest, epsilon: float, label_accuracy: pd.DataFrame | None, *, ambiguous: bool
) -> None:
    """Warn about what speaks against the coupling, and say which known labels speak for it."""
    error = alignment.readout.marginal_error
    if not alignment.converged or error > _MAX_MARGINAL_ERROR:
        msg = (
            f"The coupling has not settled (loss {alignment.loss:.4g}, marginal error {error:.2g}); "
            f"raise `epsilon` ({epsilon:g})."
        )
        warnings.warn(msg, ConvergenceWarning, stacklevel=3)
    reasons = []
    if len(nulls.deciding_loss) == 0:
        reasons.append("its significance was not tested (`n_nulls=0`)")
    elif nulls.pvalue > 0.05:
        reasons.append(f"unrelated data align as well (p = {nulls.pvalue:.2g}, `n_nulls={len(nulls.deciding_loss)}`)")
    if ambiguous:
        reasons.append("another optimum with about the same loss disagrees with it (`ambiguous`)")
    if reasons:
        msg = f"Labels transferred through this coupling may be wrong: {' and '.join(reasons)}."
        msg += labels_in_favour(label_accuracy)
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
