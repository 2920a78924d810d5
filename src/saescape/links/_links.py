"""All links of one coupling: as they are, beside those of refits that have nothing to do with the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ._association import Strength, strength
from ._nulls import NullPool, share_as_high
from ._predictability import Predictor
from ._refits import N_CELLS, make_cells, rearranged_cells, refit, refit_stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from saescape._typing import FloatArray, IntArray
    from saescape.transport._align import Settings
    from saescape.transport._joint import JointCost

_BLOCK_BYTES = 2**27
MIN_BATCHES = 3


@dataclass(frozen=True)
class LinkData:
    """What links are computed from.

    `codes` `(n, n_features)` are the features, `expression` `(m, n_genes)` that of the reference, `plan` `(n, m)` the
    coupling, in which every row and column has mass; `rows` and `rows_ref` the representations it was computed from;
    `batch_of` the batch of each cell, from 0; `joint` the cost of labels that supervised the coupling.
    """

    codes: sparse.csr_matrix
    expression: sparse.csr_matrix
    plan: sparse.csr_matrix
    rows: FloatArray
    rows_ref: FloatArray
    batch_of: IntArray | None
    joint: JointCost | None = None


@dataclass(frozen=True)
class NullLinks:
    """Links and predictability beside those of refits; all `(n_features, n_genes)` but those named.

    `predictability`, its null mean and p-value are `(n_genes,)`; `strength` (mean squared z-score of the data) and
    `null_strength` `(n_nulls,)` are what the global p-value compares. `agreement` is the correlation of the links with
    those of the reduced problem that the nulls come from.
    """

    mean: FloatArray
    sd: FloatArray
    zscore: FloatArray
    pvalue: FloatArray
    predictability: FloatArray
    predictability_null: FloatArray
    predictability_pvalue: FloatArray
    strength: float
    null_strength: FloatArray
    agreement: float

    @property
    def pvalue_global(self) -> float:
        if len(self.null_strength) == 0:
            return float("nan")
        return float(share_as_high(np.array(self.strength), self.null_strength))


def observed_links(data: LinkData) -> Strength:
    """Links through the coupling as it is, over all cells, a block of genes at a time."""
    mass = np.asarray(data.plan.sum(1)).ravel()
    weights = sparse.csr_matrix(sparse.diags(1 / mass) @ data.plan, dtype=np.float32)
    size = max(1, _BLOCK_BYTES // (4 * max(weights.shape)))
    columns = data.expression.tocsc()
    parts = [
        strength(data.codes, weights @ columns[:, s : s + size].toarray(), data.batch_of)
        for s in range(0, columns.shape[1], size)
    ]
    correlation = np.concatenate([part.correlation for part in parts], 1)
    if data.batch_of is None:
        return Strength(correlation)
    sd, t, n_batches = (np.concatenate([getattr(p, name) for p in parts], 1) for name in ("sd", "t", "n_batches"))
    return Strength(correlation, sd, t, n_batches)


def null_links(
    data: LinkData,
    observed: FloatArray,
    settings: Settings,
    n_nulls: int,
    rng: np.random.Generator,
    step: Callable[[], object],
) -> NullLinks:
    """Compare links `observed` `(n_features, n_genes)` with those of couplings whose reference is arranged by chance.

    Refits take at most 1,000 cells of each side. The image side stays as it is: how features vary over it belongs to
    the images, and nulls in which features come loose from the image geometry are too weak. Predictability is compared
    on the same cells and the same summaries of them.
    """
    cells, cells_ref = (_subset(n, rng) for n in data.plan.shape)
    codes = data.codes[cells]
    batch_of = None if data.batch_of is None else data.batch_of[cells]
    joint = None if data.joint is None else data.joint.take(cells, cells_ref)
    x = make_cells(data.rows[cells], settings, rng, None if joint is None else joint.x)
    y = make_cells(data.rows_ref[cells_ref], settings, rng, None if joint is None else joint.y)
    genes = data.expression[cells_ref]
    predictor = Predictor(data.rows[cells], batch_of, rng)

    carried = [refit_stored(x, y, data.plan[cells][:, cells_ref], settings) @ y.means(genes)]
    step()
    for _ in range(n_nulls):
        arranged = rearranged_cells(y, settings, rng)
        carried.append(refit(x, arranged, settings, rng) @ arranged.means(genes))
        step()
    r2 = np.stack([predictor.r2(expression) for expression in carried])

    pool = NullPool(n_nulls)
    size = max(1, _BLOCK_BYTES // (8 * genes.shape[1] * len(carried)))
    parts, reduced = [], []
    columns = codes.tocsc()
    for start in range(0, codes.shape[1], size):
        block = columns[:, start : start + size].tocsr()
        first, *others = (strength(block, expression, batch_of).correlation for expression in carried)
        reduced.append(first)
        if n_nulls:
            parts.append(pool.add(observed[start : start + size], np.stack(others)))
    missing = np.full(observed.shape, np.nan)
    mean, sd, zscore = (
        np.concatenate([getattr(part, name) for part in parts]) if parts else missing
        for name in ("mean", "sd", "zscore")
    )
    return NullLinks(
        mean=mean,
        sd=sd,
        zscore=zscore,
        pvalue=pool.pvalues(zscore),
        predictability=r2[0],
        predictability_null=r2[1:].mean(0) if n_nulls else np.full(len(r2[0]), np.nan),
        predictability_pvalue=_ahead_of_others(r2) if n_nulls else np.full(len(r2[0]), np.nan),
        strength=float(pool.strengths[0]) if n_nulls else float("nan"),
        null_strength=pool.strengths[1:],
        agreement=_correlation(np.concatenate(reduced), observed),
    )


def _ahead_of_others(r2: FloatArray) -> FloatArray:
    """P-values `(n_genes,)` of how far each gene is above the median one; `r2` `(1 + n_nulls, n_genes)`, data first.

    The level that all genes share is not tested: in refits genes follow the leading axes of the rearranged reference
    less than those of the data, so that all of them are predicted somewhat worse also where nothing is related.
    """
    ahead = r2 - np.nanmedian(r2, axis=1, keepdims=True)
    return share_as_high(ahead[0], ahead[1:])


def _correlation(x: FloatArray, y: FloatArray) -> float:
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 2 or not (x[known].std() > 0 and y[known].std() > 0):
        return float("nan")
    return float(np.corrcoef(x[known], y[known])[0, 1])


def consistent(pvalue: FloatArray, links: Strength) -> FloatArray:
    """P-values that are small only if the batches agree as well: the larger of both (t test over batches).

    NaN for links known in fewer than three batches.
    """
    from scipy.stats import t as student

    if links.t is None or links.n_batches is None:
        return pvalue
    enough = links.n_batches >= MIN_BATCHES
    freedom = np.maximum(links.n_batches - 1, 1)
    # batches that agree exactly leave no error to divide by
    t = np.where(np.isnan(links.t), 0, links.t)
    return np.where(enough, np.maximum(pvalue, 2 * student.sf(np.abs(t), freedom)), np.nan)


def _subset(n: int, rng: np.random.Generator) -> IntArray:
    return np.arange(n) if n <= N_CELLS else np.sort(rng.choice(n, N_CELLS, replace=False))
