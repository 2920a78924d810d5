"""Expression of cells where a feature is active against that of cells where it is not, within groups of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ._student import paired_pvalues, two_sided, welch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from saescape._typing import FloatArray, IntArray

MIN_GROUPS = 3
# float64 values of expression, and of a table of features x genes, that are held at once
_EXPRESSION_VALUES = 2**24
_TABLE_VALUES = 2**22
# a smaller share of the sum of squares is a rounding error
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Association:
    """Tables `(n_features, n_genes)` float32 (`pvalue` float64), and `n_groups` `(n_features,)`.

    `effect` is the mean over groups of the difference of means, `standardized` the same in units of the gene's SD
    within groups, `correlation` that of activation and expression within groups.
    """

    effect: FloatArray
    standardized: FloatArray
    correlation: FloatArray
    mean_active: FloatArray
    mean_inactive: FloatArray
    pvalue: FloatArray
    n_groups: IntArray


def associate(
    codes: sparse.csr_matrix,
    expression: FloatArray | sparse.csr_matrix,
    group_of: IntArray | None,
    *,
    min_cells: int = 10,
    test: bool = True,
) -> Association:
    """Associate every feature with every gene.

    Parameters
    ----------
    codes
        `(n_obs, n_features)`, non-negative; active where positive.
    expression
        `(n_obs, n_genes)`.
    group_of
        Number of the group of each cell, from 0; its groups are the replicates of a paired t test (at least 3 of them
        with enough cells). None: Welch's test over cells.
    min_cells
        Active cells, and inactive ones, that a group must have to count.
    test
        Whether to compute p-values at all.
    """
    n, n_genes = expression.shape
    groups = [np.arange(n)] if group_of is None else _members(group_of)
    parts = [_Group(codes[rows], rows, min_cells) for rows in groups]
    width = max(1, min(_TABLE_VALUES // max(codes.shape[1], 1), _EXPRESSION_VALUES // n))
    blocks = []
    for low in range(0, n_genes, width):
        block = expression[:, low : low + width]
        block = sparse.csr_matrix(block) if sparse.issparse(block) else block
        blocks.append(_associate_block(parts, block, cells=group_of is None, test=test))
    effect, standardized, correlation, active, inactive, pvalue = (
        np.concatenate(columns, axis=1) for columns in zip(*blocks, strict=True)
    )
    n_groups = np.sum([part.counts for part in parts], axis=0)
    return Association(effect, standardized, correlation, active, inactive, pvalue, n_groups)


def _members(group_of: IntArray) -> list[IntArray]:
    order = np.argsort(group_of, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group_of[order])) + 1)


class _Group:
    """Codes of the cells of one group, features in rows."""

    def __init__(self, codes: sparse.csr_matrix, rows: IntArray, min_cells: int) -> None:
        self.rows = rows
        self.values = sparse.csr_matrix(codes.T, dtype=np.float64)
        self.values.eliminate_zeros()
        self.active = self.values.copy()
        self.active.data = np.ones_like(self.active.data)
        self.n = len(rows)
        self.n_active = np.diff(self.values.indptr).astype(np.float64)
        self.total = np.asarray(self.values.sum(1)).ravel()
        self.spread = np.asarray(self.values.multiply(self.values).sum(1)).ravel() - self.total**2 / self.n
        self.counts = (self.n_active >= min_cells) & (self.n - self.n_active >= min_cells)


def _associate_block(
    parts: Sequence[_Group], expression: FloatArray | sparse.csr_matrix, *, cells: bool, test: bool
) -> Iterator[FloatArray]:
    shape = (len(parts[0].n_active), expression.shape[1])
    sums = {name: np.zeros(shape) for name in ("effect", "squares", "active", "inactive", "shared")}
    spread, gene_squares = np.zeros(shape[0]), np.zeros(shape[1])
    pvalue = np.full(shape, np.nan)
    for part in parts:
        y = expression[part.rows]
        y = np.asarray(y.toarray() if isinstance(y, sparse.csr_matrix) else y, dtype=np.float64)
        total = y.sum(0)
        active_sum = part.active @ y
        n_active = np.maximum(part.n_active, 1)[:, None]
        n_inactive = np.maximum(part.n - part.n_active, 1)[:, None]
        active, inactive = active_sum / n_active, (total - active_sum) / n_inactive
        used = part.counts[:, None]
        difference = np.where(used, active - inactive, 0)
        sums["effect"] += difference
        sums["squares"] += difference**2
        sums["active"] += np.where(used, active, 0)
        sums["inactive"] += np.where(used, inactive, 0)
        sums["shared"] += part.values @ y - np.outer(part.total, total / part.n)
        spread += part.spread
        raw = np.square(y).sum(0)
        around = raw - total**2 / part.n
        gene_squares += np.where(around > _ROUNDING * raw, around, 0)
        if cells and test:
            active_squares = part.active @ np.square(y)
            t, df = welch(active, active_squares, n_active, inactive, raw - active_squares, n_inactive)
            pvalue = np.where(used, two_sided(t, df), np.nan)

    n_groups = np.sum([part.counts for part in parts], axis=0)[:, None]
    if test and not cells:
        pvalue = np.where(n_groups >= MIN_GROUPS, paired_pvalues(sums["effect"], sums["squares"], n_groups), np.nan)
    n_cells = sum(part.n for part in parts)
    gene_sd = np.sqrt(gene_squares / max(n_cells - len(parts), 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = sums["effect"] / n_groups
        standardized = effect / np.where(gene_sd > 0, gene_sd, np.nan)
        correlation = sums["shared"] / np.sqrt(np.outer(np.maximum(spread, 0), gene_squares))
        active, inactive = sums["active"] / n_groups, sums["inactive"] / n_groups
    for table in (effect, standardized, correlation, active, inactive):
        yield np.where(np.isfinite(table), table, np.nan).astype(np.float32)
    yield pvalue
