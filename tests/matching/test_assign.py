from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from saescape.matching._assign import match_features
from saescape.matching._similarity import CodeCorrelation, CosineSimilarity, best_similarity


class Blocks:
    """A given matrix, a few rows at a time."""

    def __init__(self, matrix, size=7):
        self.matrix, self.size, self.shape = matrix.astype(np.float32), size, matrix.shape

    def blocks(self):
        for start in range(0, len(self.matrix), self.size):
            yield start, self.matrix[start : start + self.size]


@pytest.mark.parametrize("shape", [(40, 40), (30, 50), (50, 30), (1, 5), (5, 1)])
@pytest.mark.parametrize("dense_entries", [2**24, 0])
def test_agrees_with_the_whole_matrix(shape, dense_entries):
    matrix = np.random.default_rng(0).uniform(-1, 1, shape)
    found = match_features(Blocks(matrix), dense_entries=dense_entries)
    rows, columns = linear_sum_assignment(np.maximum(matrix, 0), maximize=True)
    assert found.similarity.sum() == pytest.approx(np.maximum(matrix, 0)[rows, columns].sum(), rel=1e-5)
    partners = found.partner[found.partner >= 0]
    assert len(np.unique(partners)) == len(partners)
    matched = np.flatnonzero(found.partner >= 0)
    np.testing.assert_allclose(found.similarity[matched], matrix[matched, found.partner[matched]], rtol=1e-5)
    positive = matrix.max(1) > 0
    np.testing.assert_array_equal(found.best[positive], matrix.argmax(1)[positive])
    assert (found.best[~positive] == -1).all()
    np.testing.assert_allclose(found.best_similarity, matrix.max(1), rtol=1e-6)
    mutual = positive & (matrix.argmax(0)[matrix.argmax(1)] == np.arange(shape[0]))
    np.testing.assert_array_equal(found.mutual, mutual)


def test_candidates_suffice_for_a_wide_dictionary():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(600, 32))
    order = rng.permutation(600)
    second = first[order] + 0.3 * rng.normal(size=(600, 32))
    similarity = CosineSimilarity.of(first, second)
    exact, by_candidates = match_features(similarity), match_features(similarity, dense_entries=0)
    np.testing.assert_array_equal(exact.partner, by_candidates.partner)
    np.testing.assert_array_equal(order[exact.partner], np.arange(600))


def test_negative_similarities_match_nothing():
    found = match_features(Blocks(-np.eye(3) - 0.1))
    assert (found.partner == -1).all()
    assert (found.similarity == 0).all()
    assert not found.mutual.any()


def test_correlation_of_sparse_codes_is_that_of_dense_ones(monkeypatch):
    monkeypatch.setattr("saescape.matching._similarity._BLOCK_ENTRIES", 20)
    rng = np.random.default_rng(0)
    first, second = (rng.exponential(size=(60, m)) * (rng.random((60, m)) < 0.3) for m in (9, 6))
    first[:, 4], second[:, 1] = 0, 2.5
    similarity = CodeCorrelation.of(sparse.csr_matrix(first), sparse.csr_matrix(second))
    blocks = list(similarity.blocks())
    assert len(blocks) > 1
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(np.corrcoef(first.T, second.T)[:9, 9:])
    np.testing.assert_allclose(np.concatenate([block for _, block in blocks]), expected, atol=1e-6)
    np.testing.assert_allclose(best_similarity(similarity), expected.max(1), atol=1e-6)
