"""Write the verdict on the quality of observations into an AnnData."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._keys import image_qc_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from saescape.imaging._qc_verdict import Verdict

DEFAULT_MADS = 5.0
DEFAULT_SATURATED = 0.05


def default_params() -> dict[str, Any]:
    """Parameters of `image_qc` as `image_to_adata` calls it."""
    return {
        "groupby": "region",
        "thresholds": np.array([], dtype=str),
        "n_mads": DEFAULT_MADS,
        "max_saturated": DEFAULT_SATURATED,
    }


def judge_observations(
    adata: AnnData,
    *,
    groupby: str = "region",
    thresholds: Mapping[str, tuple[float, float]] | None = None,
    n_mads: float | None = DEFAULT_MADS,
    max_saturated: float | None = DEFAULT_SATURATED,
) -> Verdict:
    """Judge the quality columns of `adata.obs`, and the further ones of `thresholds`, within groups."""
    from saescape.imaging._qc_verdict import judge, qc_columns_of

    columns = [part.column for part in qc_columns_of(adata.obs.columns)]
    columns += [name for name in thresholds or {} if name not in columns]
    # as text, for 1 and "1" would be one group in the table of limits
    codes, names = pd.factorize(adata.obs[groupby].astype(str), sort=True)
    return judge(
        pd.DataFrame({column: adata.obs[column] for column in columns}, index=adata.obs.index),
        codes,
        list(names),
        thresholds=thresholds,
        n_mads=n_mads,
        max_saturated=max_saturated,
    )


def write_verdict(adata: AnnData, verdict: Verdict, params: dict[str, Any], *, key_added: str | None = None) -> None:
    """Write columns, limits and parameters."""
    keys = image_qc_keys(key_added)
    adata.obs[keys.passed] = verdict.passed
    adata.obs[keys.reason] = verdict.reason
    adata.uns[keys.uns] = {
        "limits": verdict.limits,
        "n_obs": len(verdict.passed),
        "n_failed": int((~verdict.passed).sum()),
        "params": {**params, "version": version("saescape")},
    }
