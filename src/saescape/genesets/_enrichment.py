"""Over-representation of gene sets in groups of genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from saescape._typing import BoolArray, FloatArray, IntArray

MIN_SET = 5
_ALPHA = 0.05
COLUMNS = ("n_overlap", "n_set", "odds_ratio", "pvalue", "qvalue", "unspecific", "genes")


@dataclass(frozen=True)
class Overlaps:
    """Tests of all groups and sets, `(n_groups, n_sets)`; `sets` are the names of those within the limits of size.

    `unspecific` `(n_sets,)` marks sets that are significant in many groups.
    """

    groups: list[str]
    sets: list[str]
    n_overlap: IntArray
    n_group: IntArray
    n_set: IntArray
    pvalue: FloatArray
    qvalue: FloatArray
    unspecific: BoolArray
    n_universe: int

    def odds_ratio(self, group: IntArray, gene_set: IntArray) -> FloatArray:
        """Odds ratios of some pairs, with 0.5 added to each count (Haldane 1956)."""
        k, n, size = self.n_overlap[group, gene_set], self.n_group[group], self.n_set[gene_set]
        return (k + 0.5) * (self.n_universe - n - size + k + 0.5) / ((n - k + 0.5) * (size - k + 0.5))


def overlaps(
    groups: Mapping[str, Sequence[str]],
    sets: Mapping[str, Sequence[str]],
    n_universe: int,
    *,
    min_set: int = MIN_SET,
    max_set: int | None = None,
    many: float = 0.5,
    at_least: int = 2,
) -> Overlaps:
    """Test every set in every group: hypergeometric, right tail; adjusted over all tests.

    Parameters
    ----------
    groups
        Genes of each group, all of the universe, each once.
    sets
        Genes of each set that belong to the universe, each once.
    n_universe
        Genes that could have been in a group.
    min_set, max_set
        Genes that a set may have.
    many, at_least
        Sets that are significant in more than this share of at least three groups, and in at least this number of them,
        are marked as unspecific.
    """
    from scipy.stats import false_discovery_control

    names = [
        name for name, genes in sets.items() if min_set <= len(genes) and (max_set is None or len(genes) <= max_set)
    ]
    number: dict[str, int] = {}
    group_genes = [[number.setdefault(gene, len(number)) for gene in genes] for genes in groups.values()]
    set_genes = [[number.setdefault(gene, len(number)) for gene in sets[name]] for name in names]
    shared = (_incidence(group_genes, len(number)) @ _incidence(set_genes, len(number)).T).toarray()
    n_group = np.array([len(genes) for genes in group_genes], dtype=np.int64)
    n_set = np.array([len(genes) for genes in set_genes], dtype=np.int64)
    pvalue = _right_tails(shared, n_universe, n_set, n_group)
    qvalue = false_discovery_control(pvalue.ravel()).reshape(pvalue.shape) if pvalue.size else pvalue
    hits = (qvalue < _ALPHA).sum(0)
    unspecific = (hits > many * len(n_group)) & (hits >= at_least) & (len(n_group) > 2)
    return Overlaps(list(groups), names, shared, n_group, n_set, pvalue, qvalue, unspecific, n_universe)


def over_representation(
    groups: Mapping[str, Sequence[str]],
    sets: Mapping[str, Sequence[str]],
    n_universe: int,
    *,
    group_name: str = "group",
) -> pd.DataFrame:
    """Test every set of at least 5 genes in every group: hypergeometric, right tail; adjusted over all tests.

    Parameters
    ----------
    groups
        Genes of each group, all of the universe.
    sets
        Genes of each set that belong to the universe.
    n_universe
        Genes that could have been in a group.
    group_name
        Name of the column with the groups.

    Returns
    -------
    One row per group and set, by p-value. `odds_ratio` has 0.5 added to each count (Haldane 1956); `unspecific` marks
    sets that are significant in more than half of at least three groups.
    """
    tests = overlaps(groups, sets, n_universe)
    shape = tests.pvalue.shape
    group, gene_set = (grid.ravel() for grid in np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    table = as_table(tests, group, gene_set, groups, sets, group_name)
    return table.sort_values(["pvalue", group_name, "gene_set"], ignore_index=True)


def as_table(
    tests: Overlaps,
    group: IntArray,
    gene_set: IntArray,
    groups: Mapping[str, Sequence[str]],
    sets: Mapping[str, Sequence[str]],
    group_name: str,
) -> pd.DataFrame:
    """Some pairs of group and set, by number, as a table; `genes` are those that they share."""
    members = [set(groups[name]) for name in tests.groups]
    shared = [
        ",".join(gene for gene in sets[tests.sets[s]] if gene in members[g])
        for g, s in zip(group, gene_set, strict=True)
    ]
    return pd.DataFrame(
        {
            group_name: np.array(tests.groups, dtype=object)[group],
            "gene_set": np.array(tests.sets, dtype=object)[gene_set],
            "n_overlap": tests.n_overlap[group, gene_set],
            "n_set": tests.n_set[gene_set],
            "odds_ratio": tests.odds_ratio(group, gene_set),
            "pvalue": tests.pvalue[group, gene_set],
            "qvalue": tests.qvalue[group, gene_set],
            "unspecific": tests.unspecific[gene_set],
            "genes": np.array(shared, dtype=object),
        }
    )


def _incidence(members: Sequence[Sequence[int]], n_genes: int) -> sparse.csr_matrix:
    """Zeros and ones `(n_rows, n_genes)`."""
    indptr = np.concatenate([[0], np.cumsum([len(genes) for genes in members])]).astype(np.int64)
    indices = np.array([gene for genes in members for gene in genes], dtype=np.int64)
    return sparse.csr_matrix((np.ones(len(indices), np.int64), indices, indptr), (len(members), n_genes))


def _right_tails(n_overlap: IntArray, n_universe: int, n_set: IntArray, n_group: IntArray) -> FloatArray:
    """P-values; each combination of numbers is computed once, for there are few."""
    from scipy.stats import hypergeom

    pvalue = np.ones(n_overlap.shape)
    group, gene_set = np.nonzero(n_overlap)
    if len(group):
        case = (n_overlap[group, gene_set] * (n_universe + 1) + n_set[gene_set]) * (n_universe + 1) + n_group[group]
        cases, inverse = np.unique(case, return_inverse=True)
        rest, n = np.divmod(cases, n_universe + 1)
        k, size = np.divmod(rest, n_universe + 1)
        pvalue[group, gene_set] = hypergeom.sf(k - 1, n_universe, size, n)[inverse]
    return np.clip(pvalue, 0.0, 1.0)
