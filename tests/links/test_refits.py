from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist, pdist

import saescape as sae
from saescape.links._refits import make_cells, rearranged_cells, refit, refit_stored
from saescape.transport._align import Settings
from saescape.transport._nulls import smooth_images_in_place

SETTINGS = Settings(("cosine", "geodesic"), None, 0.1, 3)


@pytest.fixture(scope="module")
def rows():
    return sae.datasets.paired(150, 150, rng=0)[1].obsm["X_pca"]


def nearest(x, k=10):
    return np.argsort(cdist(x, x), 1)[:, 1 : k + 1]


def test_rearranged_cells_keep_neighbours_but_not_their_arrangement(rows):
    views = [rows - rows.mean(0)]
    first, second = (smooth_images_in_place(views, np.random.default_rng(seed))[0] for seed in (0, 1))
    kept = np.mean([len(np.intersect1d(a, b)) for a, b in zip(nearest(rows), nearest(first), strict=True)]) / 10
    assert kept > 3 * 10 / 149
    # the axes have the variances of the data
    np.testing.assert_allclose(
        np.linalg.svd(first, compute_uv=False), np.linalg.svd(views[0], compute_uv=False), rtol=0.3
    )
    assert np.corrcoef(pdist(first), pdist(rows))[0, 1] < 0.8
    assert np.corrcoef(pdist(first), pdist(second))[0, 1] < 0.8
    np.testing.assert_array_equal(first, smooth_images_in_place(views, np.random.default_rng(0))[0])


def test_means_of_sparse_values_are_those_of_dense_ones(rows):
    cells = make_cells(rows, SETTINGS, np.random.default_rng(0))
    values = np.maximum(np.random.default_rng(1).normal(size=(150, 7)), 0).astype(np.float32)
    found = cells.means(sparse.csr_matrix(values))
    np.testing.assert_allclose(found, cells.means(values), rtol=1e-5)
    np.testing.assert_allclose(found, cells.summary.means(values), rtol=1e-5)


def test_refits_of_a_copy_find_the_cells(rows):
    rng = np.random.default_rng(0)
    x, y = make_cells(rows, SETTINGS, rng), make_cells(rows, SETTINGS, rng)
    identity = sparse.identity(150, format="csr") / 150
    score = np.zeros(2)
    for i, conditional in enumerate((refit_stored(x, y, identity, SETTINGS), refit(x, y, SETTINGS, rng))):
        np.testing.assert_allclose(conditional.sum(1), 1, rtol=1e-4)
        carried = conditional @ y.means(rows)
        score[i] = np.corrcoef(carried[:, 0], rows[:, 0])[0, 1]
    assert (score > 0.95).all()


def test_rearranged_cells_can_be_refitted(rows):
    rng = np.random.default_rng(0)
    x = make_cells(rows, SETTINGS, rng)
    conditional = refit(x, rearranged_cells(x, SETTINGS, rng), SETTINGS, rng)
    assert conditional.shape[0] == 150
    assert np.isfinite(conditional).all()
