"""Over-representation of gene sets in groups of genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MIN_SET = 5
_ALPHA = 0.05
COLUMNS = ("n_overlap", "n_set", "odds_ratio", "pvalue", "qvalue", "unspecific", "genes")


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
    from scipy.stats import false_discovery_control, hypergeom

    rows = []
    for group, members in groups.items():
        inside = set(members)
        for name, genes in sets.items():
            if len(genes) < MIN_SET:
                continue
            shared = [gene for gene in genes if gene in inside]
            k, n, size = len(shared), len(inside), len(genes)
            odds = (k + 0.5) * (n_universe - n - size + k + 0.5) / ((n - k + 0.5) * (size - k + 0.5))
            pvalue = float(hypergeom.sf(k - 1, n_universe, size, n))
            rows.append((group, name, k, size, odds, pvalue, ",".join(shared)))
    columns = [group_name, "gene_set", "n_overlap", "n_set", "odds_ratio", "pvalue", "genes"]
    table = pd.DataFrame(rows, columns=columns)
    table["qvalue"] = false_discovery_control(table["pvalue"]) if len(table) else np.zeros(0)
    hits = table[table["qvalue"] < _ALPHA].groupby("gene_set").size()
    often = hits[hits > len(groups) / 2].index if len(groups) > 2 else []
    table["unspecific"] = table["gene_set"].isin(often)
    table = table.sort_values(["pvalue", group_name, "gene_set"], ignore_index=True)
    return table[[group_name, "gene_set", *COLUMNS]]
