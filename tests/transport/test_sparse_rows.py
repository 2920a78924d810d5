from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

from saescape.transport._embedding import choose_landmarks, dense_costs, embed, prepare
from saescape.transport._neighbors import geodesic_to, nearest
from saescape.transport._sparse_rows import SparseRows


def codes(n, d, n_active=6, seed=0):
    """Sparse codes with a few groups, so that distances differ."""
    rng = np.random.default_rng(seed)
    group = rng.integers(4, size=n)
    columns = (group[:, None] * (d // 4) + rng.integers(d // 3, size=(n, n_active))) % d
    values = rng.gamma(2.0, size=n * n_active).astype(np.float32)
    return sparse.csr_matrix((values, (np.repeat(np.arange(n), n_active), columns.ravel())), (n, d))


@pytest.fixture
def rows():
    matrix = codes(90, 40)
    return matrix.toarray(), SparseRows(matrix)


def test_indexing_is_that_of_the_array(rows):
    dense, wide = rows
    assert wide.shape == dense.shape
    assert len(wide) == 90
    for index in (slice(3, 9), np.array([5, 2, 2]), slice(None)):
        np.testing.assert_array_equal(wide[index], dense[index])
        np.testing.assert_array_equal(wide.take(index)[:], dense[index])
    np.testing.assert_array_equal(wide.any(1), dense.any(1))
    np.testing.assert_allclose(wide.squares(), (dense**2).sum(1), rtol=1e-6)


def test_unit_length_leaves_the_rows_given_and_zeros():
    wide = SparseRows(sparse.csr_matrix(np.array([[0, 0], [3, 4]], np.float32)))
    np.testing.assert_allclose(wide.of_unit_length()[:], [[0, 0], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_array_equal(wide[:], [[0, 0], [3, 4]])


@pytest.mark.parametrize("k", [1, 5])
def test_neighbors_are_the_same(rows, k):
    dense, wide = rows
    for a, b in zip(
        nearest(dense[10:], dense[:60], k), nearest(wide.take(slice(10, None)), dense[:60], k), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)
    landmarks = np.arange(0, 90, 9)
    for n_anchors in (90, 50):
        a, b = (geodesic_to(x, landmarks, 6, np.random.default_rng(0), n_anchors)[0] for x in rows)
        np.testing.assert_allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "geodesic", "diffusion"])
def test_costs_are_the_same(rows, metric):
    embedded = [embed(x, metric, n_landmarks=40, rng=np.random.default_rng(0)) for x in rows]
    first, second = (cdist(e.points, e.points, "sqeuclidean") for e in embedded)
    np.testing.assert_allclose(first, second, atol=2e-3 * first.max())
    assert embedded[0].n_links == embedded[1].n_links
    first, second = (dense_costs(x, metric, n_neighbors=None, rng=np.random.default_rng(0))[0] for x in rows)
    np.testing.assert_allclose(first, second, atol=2e-3 * first.max())


def test_landmarks_are_the_same(rows):
    chosen = [choose_landmarks(prepare(x, "cosine"), 20, np.random.default_rng(4)) for x in rows]
    np.testing.assert_array_equal(*chosen)


@pytest.mark.parametrize("metric", ["cosine", "geodesic", "diffusion"])
def test_constant_rows_are_an_error(metric):
    wide = SparseRows(sparse.csr_matrix(np.ones((20, 3), np.float32)))
    with pytest.raises(ValueError, match="all distances are zero"):
        embed(wide, metric, rng=np.random.default_rng(0))


def test_wide_codes_are_never_dense_as_a_whole():
    matrix = codes(20_000, 8192)
    tracemalloc.start()
    embed(SparseRows(matrix), "cosine", n_landmarks=128, rng=np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # dense: 625 MiB
    assert peak < 250 * 2**20
