from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from saescape._rows import RowSource
from saescape.transport import _transfer
from saescape.transport._transfer import barycentric, conditional, transfer_labels, transfer_numbers


@pytest.fixture
def weights():
    """Conditionals of 12 cells over 9, of which the last cell has none."""
    rng = np.random.default_rng(0)
    plan = rng.random((12, 9)) * (rng.random((12, 9)) < 0.6) * rng.uniform(0.1, 3, (12, 1))
    plan[-1] = 0
    return conditional(sparse.csr_matrix(plan))


def test_conditional(weights):
    np.testing.assert_allclose(np.asarray(weights.sum(1)).ravel(), [1.0] * 11 + [0.0])
    assert weights.indptr[-1] == weights.indptr[-2]


def test_labels_equal_dense_products(weights):
    codes = np.array([0, 1, 2, 2, 1, -1, 0, -1, 1])
    shares = weights.toarray() @ (codes[:, None] == np.arange(4))
    mass = shares.sum(1)
    labels = transfer_labels(weights, codes, 4)
    has = mass > 0
    assert has.sum() == 11
    np.testing.assert_array_equal(labels.codes[has], shares.argmax(1)[has])
    np.testing.assert_allclose(labels.prob[has], (shares.max(1) / np.where(has, mass, 1))[has])
    np.testing.assert_allclose(labels.mass, mass)
    assert labels.codes[-1] == -1
    assert np.isnan(labels.prob[-1])


def test_cells_with_unlabelled_mass_only():
    weights = sparse.csr_matrix([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
    labels = transfer_labels(weights, np.array([-1, -1, 1]), 2)
    np.testing.assert_array_equal(labels.codes, [-1, 1])
    # the labelled mass is all that counts
    np.testing.assert_array_equal(labels.prob, [np.nan, 1])
    moments = transfer_numbers(weights, np.array([np.nan, np.nan, 3.0]))
    np.testing.assert_array_equal(moments.mean, [np.nan, 3])
    np.testing.assert_array_equal(moments.sd, [np.nan, 0])
    np.testing.assert_array_equal(moments.mass, [0, 0.75])


def test_ties_go_to_the_first_label():
    weights = sparse.csr_matrix([[0.5, 0.5]])
    assert transfer_labels(weights, np.array([2, 1]), 3).codes == [1]


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_moments_equal_numpy(weights, offset):
    values = np.array([0.3, -1, np.nan, 4, 0, 2.5, np.nan, 1, 1]) + offset
    moments = transfer_numbers(weights, values)
    observed = np.flatnonzero(~np.isnan(values))
    for i, row in enumerate(weights.toarray()[:-1, observed]):
        mean = np.average(values[observed], weights=row)
        sd = np.sqrt(np.average((values[observed] - mean) ** 2, weights=row))
        np.testing.assert_allclose([moments.mean[i], moments.sd[i]], [mean, sd], rtol=1e-6, atol=1e-6)
    assert np.isnan([moments.mean[-1], moments.sd[-1]]).all()


@pytest.mark.parametrize("kind", ["dense", "csr", "csc", "dask"])
def test_barycentric_equals_dense_product_in_any_storage(weights, kind, monkeypatch):
    import dask.array as da

    # several blocks of the reference and chunks of the result
    monkeypatch.setattr(_transfer, "_CHUNK_BYTES", 4 * 5 * 4)
    monkeypatch.setattr(RowSource, "block_size", lambda self, max_bytes=0: 2)
    values = np.random.default_rng(1).normal(size=(9, 7)).astype(np.float32)
    values[np.abs(values) < 0.7] = 0
    make = {
        "dense": np.asarray,
        "csr": sparse.csr_matrix,
        "csc": sparse.csc_matrix,
        "dask": lambda x: da.from_array(x, chunks=(4, 7)),
    }[kind]
    wanted = np.array([6, 0, 2, 5, 1])
    result = barycentric(weights, RowSource(make(values), columns=wanted))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[:-1], (weights.toarray() @ values[:, wanted])[:-1], rtol=1e-5, atol=1e-6)
    assert np.isnan(result[-1]).all()
