"""The genes that go most with each feature, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray, IntArray

    from ._association import Association

ALPHA = 0.05
N_NAMED = 5
COLUMNS = (
    "effect",
    "standardized",
    "correlation",
    "mean_active",
    "mean_inactive",
    "n_groups",
    "pvalue",
    "qvalue",
)


def from_loadings(loadings: FloatArray) -> Association:
    """Loadings `(n_features, n_genes)` in the form of an association: standardised by their SD over genes, no test.

    Genes outside of a selection for principal components have loadings of 0 or NaN.
    """
    from ._association import Association

    nothing = np.full(loadings.shape, np.nan, dtype=np.float32)
    known = np.isfinite(loadings)
    n = np.maximum(known.sum(1, keepdims=True), 1)
    centred = np.where(known, loadings - np.sum(loadings, 1, keepdims=True, where=known) / n, 0)
    sd = np.sqrt(np.square(centred).sum(1, keepdims=True) / n)
    standardized = np.divide(loadings, sd, out=np.full_like(loadings, np.nan), where=sd > 0)
    return Association(
        effect=loadings.astype(np.float32),
        standardized=standardized.astype(np.float32),
        correlation=nothing,
        mean_active=nothing,
        mean_inactive=nothing,
        pvalue=nothing.astype(np.float64),
        n_groups=np.zeros(len(loadings), dtype=np.int64),
    )


@dataclass(frozen=True)
class Ranking:
    """Genes of each feature, significant ones first, then by the size of the standardised effect.

    `kept` are those for the table, `higher` the first few with a positive effect.
    """

    kept: Sequence[IntArray]
    higher: Sequence[IntArray]


def ranked(association: Association, qvalue: FloatArray, n_top: int | None) -> Ranking:
    """Rank the genes of each feature; those without an effect are left out."""
    kept, higher = [], []
    for row, standardized in enumerate(association.standardized):
        known = np.flatnonzero(np.isfinite(standardized))
        with np.errstate(invalid="ignore"):
            late = ~(qvalue[row, known] <= ALPHA)
        best = known[np.lexsort((-np.abs(standardized[known]), late))]
        kept.append(best[:n_top])
        higher.append(best[standardized[best] > 0][:N_NAMED])
    return Ranking(kept, higher)


def universe(association: Association) -> IntArray:
    """Genes with an effect on any feature: constant ones and those without loadings cannot be found."""
    return np.flatnonzero((np.nan_to_num(association.standardized) != 0).any(0))


def gene_table(
    association: Association, qvalue: FloatArray, ranking: Ranking, features: np.ndarray, genes: np.ndarray
) -> pd.DataFrame:
    """Long table; features without any association keep one row of missing values."""
    rows = np.repeat(np.arange(len(ranking.kept)), [max(len(best), 1) for best in ranking.kept])
    columns = np.concatenate([best if len(best) else [-1] for best in ranking.kept]).astype(np.int64)
    table = pd.DataFrame(
        {
            "feature": pd.Categorical.from_codes(rows, categories=pd.Index(features.astype(object))),
            "gene": pd.Categorical.from_codes(columns, categories=pd.Index(genes.astype(object))),
        }
    )
    for name in COLUMNS:
        if name == "n_groups":
            table[name] = association.n_groups[rows]
            continue
        values: FloatArray = qvalue if name == "qvalue" else getattr(association, name)
        table[name] = np.where(columns >= 0, values[rows, np.maximum(columns, 0)], np.nan)
    return table


def gene_scalars(
    association: Association, qvalue: FloatArray, ranking: Ranking, genes: np.ndarray
) -> dict[str, np.ndarray]:
    r"""Columns for the table of the features.

    `top_genes`: the first ones that are higher where the feature is active; `n_genes`: how many genes have a q-value of
    at most .05, NaN without a test; `n_genes_effective`: participation ratio
    :math:`(\sum e^2)^2 / \sum e^4` of the effects, 12 for 12 equal ones and 0 for the others.
    """
    squares = np.nan_to_num(association.effect.astype(np.float64)) ** 2
    tested = np.isfinite(qvalue).any(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = squares.sum(1) ** 2 / np.square(squares).sum(1)
        n_genes = np.where(tested, (qvalue <= ALPHA).sum(1), np.nan)
    top = np.array([",".join(genes[best]) for best in ranking.higher], dtype=object)
    return {"top_genes": top, "n_genes": n_genes, "n_genes_effective": effective}
