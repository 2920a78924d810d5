from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from saescape.transport import _readout
from saescape.transport._readout import correct_marginals, read_plan


def blocks(plan, size=7):
    for start in range(0, len(plan), size):
        yield start, torch.as_tensor(plan[start : start + size], dtype=torch.float32)


@pytest.fixture
def plan():
    rng = np.random.default_rng(0)
    plan = np.exp(6 * rng.random((20, 15)))
    for _ in range(300):
        plan /= plan.sum(1, keepdims=True) * 20
        plan /= plan.sum(0, keepdims=True) * 15
    return plan


def test_reads_means_and_confidence(plan):
    target = np.random.default_rng(1).normal(size=(15, 3))
    readout = read_plan(blocks(plan), plan.shape, [target])
    conditional = plan / plan.sum(1, keepdims=True)
    np.testing.assert_allclose(readout.projections[0], conditional @ target, atol=1e-5)
    entropy = -(conditional * np.log(conditional)).sum(1)
    np.testing.assert_allclose(readout.confidence, 1 - entropy / np.log(15), atol=1e-5)
    np.testing.assert_allclose(readout.coupling.toarray(), plan, atol=2e-4)
    assert readout.dropped_mass < 2e-3
    assert readout.marginal_error < 1e-3
    assert isinstance(readout.coupling, sparse.csr_matrix)
    assert readout.coupling.dtype == np.float32
    assert readout.coupling.has_sorted_indices


def test_confidence_limits():
    uniform = np.full((5, 8), 1 / 40)
    np.testing.assert_allclose(read_plan(blocks(uniform), (5, 8), []).confidence, 0, atol=1e-6)
    matching = np.eye(6) / 6
    readout = read_plan(blocks(matching), (6, 6), [])
    np.testing.assert_allclose(readout.confidence, 1, atol=1e-6)
    assert readout.coupling.nnz == 6


def test_truncation_is_reported_and_every_column_stays(plan, monkeypatch):
    monkeypatch.setattr(_readout, "_MIN_PER_ROW", 2)
    monkeypatch.setattr(_readout, "_MAX_STORED", 1)
    readout = read_plan(blocks(plan), plan.shape, [])
    top = np.sort(plan, 1)[:, -2:].sum()
    assert readout.dropped_mass == pytest.approx(1 - top, abs=0.15)
    assert readout.dropped_mass > 0.1
    assert (np.asarray(readout.coupling.sum(0)) > 0).all()
    np.testing.assert_allclose(np.asarray(readout.coupling.sum(1)).ravel(), 1 / 20, rtol=1e-5)
    np.testing.assert_allclose(readout.coupling.sum(), 1, rtol=1e-5)


def test_marginals_are_corrected():
    rng = np.random.default_rng(0)
    plan, error = correct_marginals(sparse.csr_matrix(rng.random((30, 20)) + 0.1))
    assert error < 1e-3
    np.testing.assert_allclose(np.asarray(plan.sum(1)).ravel(), 1 / 30, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(plan.sum(0)).ravel(), 1 / 20, rtol=1e-2)


def test_impossible_marginals_are_reported():
    # two rows that can only go to one of two columns
    _, error = correct_marginals(sparse.csr_matrix(np.array([[1.0, 0], [1.0, 0], [1.0, 1.0]])))
    assert error > 0.1
