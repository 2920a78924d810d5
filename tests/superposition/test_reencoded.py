from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import nnls

from saescape.superposition._interference import interference, scale_codes
from saescape.superposition._nulls import usage_null
from saescape.superposition._reencoded import Recoder, Recoding, move_features, pool_positions, reencoded_null


def test_a_feature_moves_with_all_its_positions_and_within_its_block():
    rng = np.random.default_rng(0)
    n_cells, n_positions, m = 30, 4, 6
    dense = rng.random((n_cells, n_positions, m)) * (rng.random((n_cells, n_positions, m)) < 0.3)
    blocks = rng.integers(0, 3, n_cells)
    moved = move_features(sparse.csr_matrix(dense.reshape(-1, m)), n_positions, blocks, rng).toarray()
    moved = moved.reshape(n_cells, n_positions, m)
    assert not np.allclose(moved, dense)
    for block in range(3):
        for feature in range(m):
            # activations of a cell over positions, as a set of rows
            before, after = (x[blocks == block][:, :, feature] for x in (dense, moved))
            np.testing.assert_array_equal(*(rows[np.lexsort(rows.T)] for rows in (before, after)))


def test_features_move_independently_of_each_other():
    codes = sparse.csr_matrix(np.ones((200, 2)) * (np.arange(200) < 60)[:, None])
    moved = move_features(codes, 1, np.zeros(200, dtype=int), np.random.default_rng(0)).toarray()
    assert np.corrcoef(codes.toarray().T)[0, 1] == pytest.approx(1)
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.25


def test_pooling_is_the_mean_over_positions():
    dense = np.random.default_rng(0).random((6, 5))
    np.testing.assert_allclose(pool_positions(sparse.csr_matrix(dense), 3).toarray(), dense.reshape(2, 3, 5).mean(1))
    np.testing.assert_allclose(pool_positions(sparse.csr_matrix(dense), 1).toarray(), dense)


def test_the_budget_gives_up_draws_then_cells_then_positions():
    cheap, dear, dearest = (Recoder(None, None, None, work) for work in (1e3, 1e6, 1e8))
    assert cheap.plan(500, 4, 100) == (500, 4, 100)
    assert cheap.plan(500, 4, 7) == (500, 4, 7)
    assert dear.plan(10_000, 1, 100) == (7_500, 1, 20)
    assert dear.plan(2_000, 1, 100) == (2_000, 1, 75)
    assert dear.plan(10_000, 25, 100) == (300, 25, 20)
    assert dear.plan(150, 100, 100) == (150, 50, 20)
    assert dearest.plan(10_000, 196, 100) == (200, 8, 20)


def one_step(decoder):
    """An encoder that does not explain away: each feature answers with its product."""

    def encode(rows):
        return sparse.csr_matrix(np.maximum(rows @ decoder.T - 0.4, 0))

    return encode


def case(seed, n=150, m=12, d=6, aligned=False):
    """Cells of independent features, or of pairs with similar directions that fire together."""
    rng = np.random.default_rng(seed)
    decoder = rng.standard_normal((m, d))
    on = rng.random((n, m)) < 0.15
    if aligned:
        decoder = np.repeat(rng.standard_normal((m // 2, d)), 2, axis=0) + 0.8 * rng.standard_normal((m, d))
        on = np.repeat(rng.random((n, m // 2)) < 0.15, 2, axis=1)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    rows = (on * rng.gamma(3.0, 1 / 3, (n, m))) @ decoder + 0.02 * rng.standard_normal((n, d))
    return decoder.astype(np.float32), rows.astype(np.float32)


def exact(decoder):
    """Non-negative least squares, which tells features apart where that is possible."""

    def encode(rows):
        codes = np.array([nnls(decoder.T, row)[0] for row in rows])
        return sparse.csr_matrix(codes * (codes > 0.1))

    return encode


def nulls(seed, encoder=one_step, n_draws=19, **kwargs):
    decoder, rows = case(seed, **kwargs)
    recoder = Recoder(encoder(decoder), decoder, np.zeros(decoder.shape[1], dtype=np.float32), 1.0)
    codes = recoder.encode(rows)
    scaled, unit = scale_codes(codes, decoder)
    found = interference(scaled, unit)
    blocks, rng = np.zeros(len(rows), dtype=int), np.random.default_rng(seed)
    given = Recoding(recoder, rows[:, None], np.arange(len(rows)), n_draws)
    again = reencoded_null(given, blocks, score=found.score, rng=rng)
    return again, usage_null(scaled, unit, blocks, crowding=found.crowding, n_perms=n_draws, rng=rng), found.score


def test_an_encoder_that_makes_overlapping_features_meet_is_accounted_for():
    both = [nulls(seed)[:2] for seed in range(16)]
    again, usage = (np.array([pair[i].pvalue for pair in both]) for i in (0, 1))
    # features are independent: permuted codes find "co-activation" nearly always, re-encoded features do not
    assert np.mean(usage <= 0.05) > 0.8
    assert np.mean(again <= 0.05) < 0.3
    z = np.array([[pair[i].z for i in (0, 1)] for pair in both])
    assert np.median(np.abs(z[:, 0])) < np.median(np.abs(z[:, 1])) / 3


def test_real_alignment_is_found():
    found = [nulls(seed, exact, d=9, aligned=True)[0] for seed in range(5)]
    assert max(null.pvalue for null in found) < 0.06
    independent = [nulls(seed, exact, d=9)[0] for seed in range(5)]
    assert min(null.z for null in found) > 2 * max(null.z for null in independent)


def test_draws_stand_beside_the_score():
    again, _, score = nulls(0)
    assert again.mean == pytest.approx(score, rel=0.5)
    assert (score - again.mean) / again.sd == pytest.approx(again.z)


def test_residuals_are_kept_within_blocks():
    # codes are empty: what is coded again is the residual of another cell of the same block
    seen = []

    def encode(rows):
        seen.append(np.array(rows))
        return sparse.csr_matrix((len(rows), 2))

    rows = np.arange(12, dtype=np.float32).reshape(6, 1, 2)
    blocks = np.array([0, 0, 0, 1, 1, 1])
    recoder = Recoder(encode, np.eye(2, dtype=np.float32), np.ones(2, dtype=np.float32), 1.0)
    with np.errstate(invalid="ignore"):
        reencoded_null(Recoding(recoder, rows, np.arange(6), 3), blocks, score=0.0, rng=np.random.default_rng(0))
    assert len(seen) == 4
    for drawn in seen[1:]:
        for block in (0, 1):
            own = rows[blocks == block, 0]
            np.testing.assert_allclose(drawn[blocks == block][np.argsort(drawn[blocks == block][:, 0])], own)
