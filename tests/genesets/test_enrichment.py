from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, fisher_exact

from saescape.genesets._enrichment import over_representation

GENES = [f"g{i}" for i in range(60)]
GROUPS = {"module_0": GENES[:12], "module_1": GENES[12:30]}
SETS = {"in_0": GENES[:10], "spread": GENES[::6], "in_1": GENES[10:24], "small": GENES[:4]}


def test_pvalues_are_those_of_fisher_and_adjusted_over_all_tests():
    table = over_representation(GROUPS, SETS, 60, group_name="module")
    assert len(table) == 6
    assert (table["gene_set"] != "small").all()
    for row in table.itertuples():
        group, genes = set(GROUPS[row.module]), set(SETS[row.gene_set])
        k, n, size = len(group & genes), len(group), len(genes)
        counts = np.array([[k, n - k], [size - k, 60 - n - size + k]])
        assert row.n_overlap == k
        assert row.n_set == size
        assert row.pvalue == pytest.approx(fisher_exact(counts, "greater").pvalue)
        odds = counts + 0.5
        assert row.odds_ratio == pytest.approx(odds[0, 0] * odds[1, 1] / odds[0, 1] / odds[1, 0])
        assert set(row.genes.split(",")) - {""} == group & genes
    np.testing.assert_allclose(table["qvalue"], false_discovery_control(table["pvalue"]))
    assert (table["pvalue"].diff().dropna() >= 0).all()
    assert table.loc[0, ["module", "gene_set"]].tolist() == ["module_0", "in_0"]


def test_sets_that_are_everywhere_are_marked():
    groups = {f"module_{i}": GENES[10 * i : 10 * i + 10] for i in range(3)}
    sets = {"everywhere": GENES[0:6] + GENES[10:16] + GENES[20:26], "once": GENES[:8]}
    table = over_representation(groups, sets, 600)
    assert set(table.loc[table["unspecific"], "gene_set"]) == {"everywhere"}


def test_nothing_to_test():
    empty = over_representation({}, SETS, 60, group_name="module")
    assert len(empty) == 0
    assert empty.columns[:2].tolist() == ["module", "gene_set"]
    assert len(over_representation(GROUPS, {"small": GENES[:4]}, 60)) == 0
