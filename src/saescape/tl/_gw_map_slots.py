"""What `tl.gw_map` leaves behind: slots and warnings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from saescape._warnings import ConvergenceWarning, SignificanceWarning

if TYPE_CHECKING:
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
) -> None:
    """Transferred labels and their accuracy, and all slots; nothing is written before all is computed."""
    from saescape.metrics import label_transfer_accuracy

    projection, *mass = alignment.readout.projections
    accuracy: dict[str, dict[str, float]] = {}
    columns: dict[str, Any] = {keys.confidence: alignment.readout.confidence}
    for label, share in zip(labels, mass, strict=True):
        winner = np.where(share.max(1) > 0, share.argmax(1), -1)
        predicted = pd.Categorical.from_codes(winner, categories=label.categories)
        columns[keys.label(label.column)] = predicted
        columns[keys.label_prob(label.column)] = share.max(1).astype(np.float32)
        if label.column in adata.obs and adata.obs[label.column].notna().any():
            truth = adata.obs[label.column]
            accuracy[label.column] = {
                "balanced_accuracy": label_transfer_accuracy(truth, predicted),
                "accuracy": label_transfer_accuracy(truth, predicted, balanced=False),
                "chance": 1 / truth.nunique(),
                "pvalue": _name_pvalue(truth, label, winner, rng),
            }
    if accuracy:
        result["label_accuracy"] = pd.DataFrame.from_dict(accuracy, orient="index")
    adata.obsm[keys.coupling] = alignment.readout.coupling
    adata.obsm[keys.projection] = projection
    for name, values in columns.items():
        adata.obs[name] = values
    adata.uns[keys.uns] = result


def _name_pvalue(truth: pd.Series, label: Labels, predicted: IntArray, rng: np.random.Generator) -> float:
    from saescape.transport._label_test import name_pvalue, recalls

    # compared as text, as the accuracy is; labels that the reference lacks say nothing about the names
    codes = label.categories.get_indexer(pd.Index(truth.astype(str).where(truth.notna())))
    if not np.any(codes >= 0):
        return float("nan")
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
        known = [] if label_accuracy is None else label_accuracy.query("pvalue <= 0.05")["pvalue"].items()
        for column, pvalue in known:
            msg += f" The labels in `adata.obs[{column!r}]` agree with it more than by chance (p = {pvalue:.2g})."
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
