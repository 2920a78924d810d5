from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats

from saescape.coactivation._graph import communities, hierarchy, pair_graph
from saescape.coactivation._pairs import active_entries, adjusted, coactive_pairs, share_of_batches, upper_tail


def binary(array):
    return sparse.csr_matrix(np.asarray(array, dtype=np.float32))


def one_stratum(n):
    return np.zeros(n, np.int64)


def test_counts_and_expectations_are_those_of_permutations():
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1, 2], [30, 50, 20])
    active = rng.random((100, 4)) < rng.uniform(0.1, 0.7, (3, 4))[strata]
    pairs = coactive_pairs(binary(active), strata, min_count=1)
    drawn = np.zeros((20_000, len(pairs.first)))
    for row in drawn:
        order = np.argsort(strata + rng.random((4, 100)), axis=1)
        permuted = np.stack([column[o] for column, o in zip(active.T, order, strict=True)], 1)
        row[:] = (permuted[:, pairs.first] & permuted[:, pairs.second]).sum(0)
    np.testing.assert_array_equal(pairs.count, (active[:, pairs.first] & active[:, pairs.second]).sum(0))
    np.testing.assert_allclose(pairs.expected, drawn.mean(0), rtol=0.01)
    np.testing.assert_allclose(pairs.pvalue, (drawn >= pairs.count).mean(0), atol=0.02)
    np.testing.assert_allclose(pairs.pmi, np.log2(pairs.count / pairs.expected))


def test_tail_is_close_to_the_hypergeometric_one():
    for n, a, b in ((1_000, 30, 50), (200, 100, 120), (5_000, 20, 15)):
        exact = stats.hypergeom(n, a, b)
        count = np.arange(1, min(a, b) + 1)
        size = len(count)
        found = upper_tail(count, np.full(size, exact.mean()), np.full(size, exact.var()))
        tail = exact.sf(count - 1)
        plain = tail > 1e-6
        np.testing.assert_allclose(found[plain], tail[plain], rtol=0.35)
    # nothing is left to chance
    np.testing.assert_array_equal(upper_tail(np.array([5, 4]), np.array([5.0, 3.0]), np.zeros(2)), [1.0, 0.0])


def test_planted_modules_have_the_information_of_theory():
    """Events at 5 %, of which each feature of the module keeps 80 %: log2(1 / .05) bits."""
    rng = np.random.default_rng(0)
    event = rng.random(40_000) < 0.05
    active = np.column_stack([event & (rng.random(40_000) < 0.8) for _ in range(6)])
    pairs = coactive_pairs(binary(active), one_stratum(40_000), min_count=5)
    assert pairs.pmi.mean() == pytest.approx(np.log2(20), abs=0.06)
    independent = rng.random((40_000, 6)) < 0.04
    pairs = coactive_pairs(binary(independent), one_stratum(40_000), min_count=5)
    assert np.abs(pairs.pmi.mean()) < 0.1


def test_independent_features_are_rejected_at_the_nominal_rate():
    rng = np.random.default_rng(0)
    rejected, any_linked = [], []
    for _ in range(30):
        strata = rng.integers(0, 4, 1_000)
        active = rng.random((1_000, 30)) < rng.uniform(0.02, 0.5, (4, 30))[strata]
        pairs = coactive_pairs(binary(active), strata, min_count=1)
        rejected.append((pairs.pvalue < 0.05).sum() / 435)
        any_linked.append((pairs.qvalue < 0.05).any())
    assert 0.02 < np.mean(rejected) < 0.06
    assert np.mean(any_linked) <= 0.15


def test_adjusted_counts_tests_that_are_not_listed():
    pvalue = np.random.default_rng(0).uniform(size=20) ** 3
    full = stats.false_discovery_control(np.concatenate([pvalue, np.ones(80)]))
    np.testing.assert_allclose(adjusted(pvalue, 100), full[:20])
    assert len(adjusted(np.zeros(0), 10)) == 0


def test_pairs_of_one_batch_are_seen():
    rng = np.random.default_rng(0)
    batch = np.repeat(np.arange(4), 500)
    event = (rng.random(2_000) < 0.1) & (batch == 0)
    everywhere = rng.random(2_000) < 0.1
    active = np.column_stack(
        [event | (rng.random(2_000) < 0.05), event | (rng.random(2_000) < 0.05), everywhere, everywhere]
    )
    active = binary(active)
    pairs = coactive_pairs(active, batch, min_count=1)
    share = share_of_batches(active, batch, batch, pairs)
    found = dict(zip(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), share, strict=True))
    assert found[0, 1] < 1
    assert found[2, 3] == 1


def test_threshold_is_a_share_of_the_largest_code():
    codes = sparse.csr_matrix([[1.0, 0.0], [4.0, 0.2], [2.0, 0.1]])
    np.testing.assert_array_equal(active_entries(codes, 0.0).toarray(), [[1, 0], [1, 1], [1, 1]])
    np.testing.assert_array_equal(active_entries(codes, 0.5).toarray(), [[0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(codes.toarray(), [[1, 0], [4, 0.2], [2, 0.1]])


def test_nested_features_find_their_nearest_parent():
    rng = np.random.default_rng(0)
    n = 5_000
    top = rng.random(n) < 0.4
    middle = top & (rng.random(n) < 0.3)
    bottom = middle & (rng.random(n) < 0.3)
    always = rng.random(n) < 0.97
    active = binary(np.column_stack([bottom, middle, top, always, rng.random(n) < 0.1]))
    pairs = coactive_pairs(active, one_stratum(n), min_count=5)
    parent, of_child, of_parent = hierarchy(pairs, pairs.qvalue < 0.05, np.asarray(active.sum(0)).ravel().astype(int))
    np.testing.assert_array_equal(parent, [1, 2, -1, -1, -1])
    np.testing.assert_allclose(of_child[:2], 1)
    assert of_parent[0] == pytest.approx(bottom.sum() / middle.sum())


def test_modules_are_those_of_the_graph_largest_first():
    rng = np.random.default_rng(0)
    sizes = [3, 6, 2]
    event = rng.random((3_000, 3)) < 0.05
    active = np.concatenate([event[:, [i]] & (rng.random((3_000, s)) < 0.8) for i, s in enumerate(sizes)], 1)
    pairs = coactive_pairs(binary(active), one_stratum(3_000), min_count=5)
    graph = pair_graph(pairs, (pairs.qvalue < 0.05) & (pairs.pmi > 1), 12)
    label = communities(graph, resolution=1.0, min_size=3, seed=0)
    np.testing.assert_array_equal(label, [1] * 3 + [0] * 6 + [-1] * 3)
    assert (graph != graph.T).nnz == 0
    np.testing.assert_array_equal(communities(graph[:0, :0], resolution=1.0, min_size=3, seed=0), [])
