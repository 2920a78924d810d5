from __future__ import annotations

import numpy as np
import pytest

from saescape.metrics import knn_recall
from saescape.representations import _overlap
from saescape.representations._graph import nearest
from saescape.representations._overlap import knn_overlap, shared_ranks
from saescape.representations._permutations import Permutations

KS = (2, 6, 10)


def test_overlap_equals_knn_recall_and_its_chance_level(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = x + 0.5 * rng.normal(size=(80, 3))
    graphs = [nearest(z, 10, rng) for z in (x, y)]
    perms = Permutations(np.zeros(80, dtype=int), "cells", 400, 0)
    monkeypatch.setattr(_overlap, "_BLOCK_ROWS", 33)
    found = knn_overlap(*graphs, KS, perms)
    for i, k in enumerate(KS):
        assert found[i, 0] == pytest.approx(knn_recall(x, y, k))
        assert found[i, 1:].mean() == pytest.approx(k / 79, rel=0.05)


def test_equal_graphs_share_all_neighbours_at_their_rank():
    graph = nearest(np.random.default_rng(0).normal(size=(600, 3)), 4, np.random.default_rng(0))
    np.testing.assert_array_equal(shared_ranks(graph, graph), [600] * 4)


def test_permuted_overlap_is_that_of_the_exchanged_rows():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60, 3))
    block = np.arange(60) % 2
    perms = Permutations(block, "cells", 3, 0)
    found = knn_overlap(nearest(x, 10, rng), nearest(y, 10, rng), KS, perms)
    for number in range(4):
        exchanged = y[perms.rows(number, number + 1)[:, 0]]
        assert found[1, number] == pytest.approx(knn_recall(x, exchanged, 6))
