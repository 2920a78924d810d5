"""What `tl.gw_links` leaves behind: tables of genes and modules, and warnings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._warnings import SignificanceWarning

if TYPE_CHECKING:
    from saescape._typing import FloatArray
    from saescape.links._association import Strength
    from saescape.links._links import NullLinks

ALPHA = 0.05
_N_TOP = 5
_MIN_AGREEMENT = 0.8


def module_names(zscore: FloatArray, qvalue: FloatArray, n_modules: int | None, max_qvalue: float) -> pd.Categorical:
    """Module of each gene that has a link of at most this q-value; missing for all others."""
    from saescape.links._modules import gene_modules

    with np.errstate(invalid="ignore"):
        linked = np.flatnonzero((qvalue <= max_qvalue).any(0))
    if len(linked) == 0:
        return pd.Categorical([None] * qvalue.shape[1], categories=pd.Index([], dtype=object))
    label = gene_modules(zscore[:, linked].T, n_modules)
    codes = np.full(qvalue.shape[1], -1)
    codes[linked] = label
    return pd.Categorical.from_codes(codes, categories=[f"module_{i}" for i in range(int(label.max()) + 1)])


def gene_table(names: list[str], module: pd.Categorical, correlation: FloatArray, nulls: NullLinks) -> pd.DataFrame:
    """One row per gene."""
    strongest = np.max(np.abs(correlation), 0, initial=-1, where=np.isfinite(correlation))
    return pd.DataFrame(
        {
            "module": module,
            "predictability": nulls.predictability,
            "predictability_null": nulls.predictability_null,
            "predictability_pvalue": nulls.predictability_pvalue,
            "max_abs_correlation": np.where(strongest < 0, np.nan, strongest),
        },
        index=pd.Index(names, dtype=object),
    )


def module_table(module: pd.Categorical, zscore: FloatArray, features: np.ndarray, genes: list[str]) -> pd.DataFrame:
    """One row per module: the features with the largest mean absolute z-score, and the genes with the largest."""
    rows = []
    codes, z = np.asarray(module.codes), np.nan_to_num(np.abs(zscore))
    for number in range(len(module.categories)):
        members = np.flatnonzero(codes == number)
        by_feature = np.argsort(-z[:, members].mean(1), kind="stable")[:_N_TOP]
        by_gene = members[np.argsort(-z[:, members].max(0), kind="stable")[:_N_TOP]]
        rows.append((len(members), ",".join(features[by_feature]), ",".join(genes[i] for i in by_gene)))
    return pd.DataFrame(
        rows,
        columns=["n_genes", "top_features", "top_genes"],
        index=pd.Index(np.asarray(module.categories, dtype=object), dtype=object),
    )


def enrichment_table(
    module: pd.Categorical, genes: list[str], sets: dict[str, list[str]], n_universe: int
) -> pd.DataFrame:
    """Over-representation of the sets in the modules."""
    from saescape.genesets._enrichment import over_representation

    codes = np.asarray(module.codes)
    groups = {
        str(name): [genes[i] for i in np.flatnonzero(codes == number)] for number, name in enumerate(module.categories)
    }
    return over_representation(groups, sets, n_universe, group_name="module")


def batch_entries(links: Strength) -> dict[str, Any]:
    """Tables that are there with batches only."""
    if links.n_batches is None or links.sd is None:
        return {}
    return {"n_batches": links.n_batches.astype(np.int32), "correlation_sd": links.sd.astype(np.float32)}


def warn(nulls: NullLinks, n_nulls: int, n_batches: int | None, min_batches: int) -> None:
    """Say what speaks against the links."""
    if n_batches is not None and n_batches < min_batches:
        msg = (
            f"Links were not tested: `batch_key` has {n_batches} batches with enough cells, and at least {min_batches} "
            "are needed to tell what is consistent. Correlations are effect sizes only."
        )
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
    if nulls.agreement < _MIN_AGREEMENT:
        msg = (
            "The reduced problem that nulls come from does not reproduce the links of the coupling (correlation "
            f"{nulls.agreement:.2f}): p-values may be off."
        )
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
    if n_nulls == 0:
        warnings.warn("Links were not tested (`n_nulls=0`).", SignificanceWarning, stacklevel=3)
    elif nulls.pvalue_global > ALPHA:
        msg = (
            f"Links are not stronger than those through couplings with unrelated arrangements (global p = "
            f"{nulls.pvalue_global:.2g}, `n_nulls={n_nulls}`)."
        )
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
