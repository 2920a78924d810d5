from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats

from saescape.annotation import _association
from saescape.annotation._association import associate

N, FEATURES, GENES, MIN_CELLS = 160, 6, 9, 5
TABLES = ("effect", "standardized", "correlation", "mean_active", "mean_inactive", "pvalue")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    codes = rng.gamma(2, 1, (N, FEATURES)) * (rng.random((N, FEATURES)) < 0.3)
    codes[:, 4] = 0
    codes[:, 5] = 0
    codes[:7, 5] = 1
    expression = rng.normal(3, 1, (N, GENES)) + codes @ rng.normal(0, 0.5, (FEATURES, GENES))
    expression[:, 8] = 0.1
    group = rng.integers(4, size=N)
    return codes, expression.astype(np.float32), group


def test_groups_are_replicates(data):
    codes, expression, group = data
    result = associate(sparse.csr_matrix(codes), expression, group, min_cells=MIN_CELLS)
    for feature in range(4):
        differences = []
        for number in range(4):
            active, rows = codes[:, feature] > 0, group == number
            differences.append(expression[rows & active].mean(0) - expression[rows & ~active].mean(0))
        expected = stats.ttest_1samp(differences, 0)
        np.testing.assert_allclose(result.effect[feature], np.mean(differences, 0), atol=1e-5)
        np.testing.assert_allclose(result.pvalue[feature, :8], expected.pvalue[:8], rtol=1e-4)
        within = expression - np.stack([expression[group == g].mean(0) for g in range(4)])[group]
        z = codes[:, feature] - np.array([codes[group == g, feature].mean() for g in range(4)])[group]
        correlation = [stats.pearsonr(z, within[:, gene]).statistic for gene in range(8)]
        np.testing.assert_allclose(result.correlation[feature, :8], correlation, atol=1e-5)
        sd = np.sqrt(np.square(within).sum(0) / (N - 4))
        np.testing.assert_allclose(result.standardized[feature, :8], np.mean(differences, 0)[:8] / sd[:8], rtol=1e-3)
    assert result.n_groups.tolist()[:5] == [4, 4, 4, 4, 0]
    # a constant gene, a feature that never fires, and one that fires in too few cells
    assert np.isnan(result.pvalue[:, 8]).all()
    assert np.isnan(result.standardized[:, 8]).all()
    for table in TABLES:
        assert np.isnan(getattr(result, table)[4]).all()


def test_cells_are_replicates_without_groups(data):
    codes, expression, _ = data
    result = associate(sparse.csr_matrix(codes), sparse.csr_matrix(expression), None, min_cells=MIN_CELLS)
    for feature in (0, 1, 2, 3, 5):
        active = codes[:, feature] > 0
        expected = stats.ttest_ind(expression[active, :8], expression[~active, :8], equal_var=False)
        np.testing.assert_allclose(result.pvalue[feature, :8], expected.pvalue, rtol=1e-3)
        np.testing.assert_allclose(result.mean_active[feature], expression[active].mean(0), rtol=1e-5)
        np.testing.assert_allclose(result.mean_inactive[feature], expression[~active].mean(0), rtol=1e-5)


def test_blocks_of_genes_and_storage_do_not_matter(data, monkeypatch):
    codes, expression, group = data
    whole = associate(sparse.csr_matrix(codes), expression, group, min_cells=MIN_CELLS)
    monkeypatch.setattr(_association, "_TABLE_VALUES", 2 * FEATURES)
    blocks = associate(sparse.csr_matrix(codes), sparse.csr_matrix(expression), group, min_cells=MIN_CELLS)
    for table in TABLES:
        np.testing.assert_allclose(getattr(blocks, table), getattr(whole, table), rtol=1e-5)


def test_two_groups_give_effects_only(data):
    codes, expression, group = data
    result = associate(sparse.csr_matrix(codes), expression, group // 2, min_cells=MIN_CELLS)
    assert np.isnan(result.pvalue).all()
    assert np.isfinite(result.effect[:4]).all()
