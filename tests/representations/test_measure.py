"""Fewer permutations and dimensions where all of them would take too long."""

from __future__ import annotations

import numpy as np
import pytest

from saescape.representations import _measure
from saescape.representations._measure import linear_rows, measure, overlap_rows
from saescape.representations._phenotype import Phenotype
from saescape.representations._plan import make_plan


@pytest.fixture
def setup():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6)).astype(np.float32)
    known = np.ones(60, dtype=bool)
    phenotypes = [
        Phenotype("number", x[:, 0] + rng.normal(size=60), known, 0),
        Phenotype("label", (x[:, 1] > 0).astype(int), known, 2),
    ]
    plan = make_plan(
        {"all": np.arange(60)}, phenotypes, None, batch_key=None, max_k=5, n_perms=30, rng=np.random.default_rng(1)
    )
    return x, plan.cells[0]


def by_statistic(rows, column):
    return {row["statistic"]: row[column] for row in rows}


def test_expensive_statistics_are_permuted_less_often_with_the_first_permutations(setup, monkeypatch):
    x, cells = setup
    before, neighbors = measure(x, x, cells, [5], np.random.default_rng(0))
    assert set(by_statistic(before, "n_perms").values()) == {30}
    monkeypatch.setattr(_measure, "_MIN_PERMS", 7)
    for name in ("_VOTES_BUDGET", "_PROBE_BUDGET", "_OVERLAP_BUDGET"):
        monkeypatch.setattr(_measure, name, 1)
    after = measure(x, x, cells, [5], np.random.default_rng(0))[0]
    assert {name for name, n in by_statistic(after, "n_perms").items() if n == 7} == {"knn_accuracy", "probe_accuracy"}
    assert by_statistic(after, "value") == by_statistic(before, "value")
    assert overlap_rows(neighbors, neighbors, cells, [5])[0]["n_perms"] == 7


def test_linear_readouts_use_principal_components_of_wide_rows(setup, monkeypatch):
    x, cells = setup
    monkeypatch.setattr(_measure, "MAX_LINEAR", 3)
    few = linear_rows(x, np.random.default_rng(0))
    assert few.shape == (60, 3)
    singular = np.linalg.svd(x - x.mean(0), compute_uv=False)[:3]
    np.testing.assert_allclose(np.linalg.norm(few, axis=0), singular, rtol=1e-4)
    whole, reduced = (by_statistic(measure(x, z, cells, [5], np.random.default_rng(0))[0], "value") for z in (x, few))
    assert whole["morans_i"] == reduced["morans_i"]
    assert whole["ridge_r2"] != reduced["ridge_r2"]
