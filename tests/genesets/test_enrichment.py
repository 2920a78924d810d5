from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, fisher_exact, hypergeom

from saescape.genesets._enrichment import over_representation, overlaps

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


def test_pvalues_of_limited_sizes_against_scipy():
    rng = np.random.default_rng(0)
    genes = [f"g{i}" for i in range(300)]
    groups = {f"f{i}": list(rng.choice(genes, 30 + i, replace=False)) for i in range(6)}
    sets = {f"s{i}": list(rng.choice(genes, 4 + 6 * i, replace=False)) for i in range(8)}
    tests = overlaps(groups, sets, 300, min_set=10, max_set=40)
    assert tests.sets == [f"s{i}" for i in range(1, 7)]
    for g, group in enumerate(groups.values()):
        for s, name in enumerate(tests.sets):
            k = len(set(group) & set(sets[name]))
            assert tests.n_overlap[g, s] == k
            assert tests.pvalue[g, s] == pytest.approx(hypergeom.sf(k - 1, 300, len(sets[name]), len(group)))
    np.testing.assert_allclose(tests.qvalue.ravel(), false_discovery_control(tests.pvalue.ravel()))


def test_unspecific_needs_several_groups():
    groups = {f"f{i}": GENES[:12] if i < 3 else GENES[12 + i : 24 + i] for i in range(10)}
    sets = {"common": GENES[:12], "rare": GENES[45:57]}
    assert overlaps(groups, sets, 1000, many=0.2, at_least=3).unspecific[0]
    assert not overlaps(groups, sets, 1000, many=0.2, at_least=4).unspecific[0]
    assert not overlaps(groups, sets, 1000, many=0.3, at_least=3).unspecific[0]
