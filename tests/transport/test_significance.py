from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist
from sklearn.datasets import make_blobs

from saescape.transport._align import Settings, Starts
from saescape.transport._neighbors import nearest
from saescape.transport._nulls import gaussian_cloud, reduced, smooth_images
from saescape.transport._significance import NULLS, NullTest, is_ambiguous, null_test

SETTINGS = Settings(metrics=("euclidean",), n_neighbors=None, epsilon=0.1, n_starts=2)


def test_smooth_images_keep_neighbours_and_variances():
    x, label = make_blobs(300, n_features=6, centers=6, cluster_std=0.5, random_state=0)
    x = x - x.mean(0)
    (image,), _ = smooth_images([x], np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.svd(image, compute_uv=False), np.linalg.svd(x, compute_uv=False), rtol=0.02)
    # clusters remain: the nearest neighbour is much nearer than in a normal cloud of the same variances
    cloud = gaussian_cloud(x, np.random.default_rng(0))
    near, far = (
        np.median(nearest(z.astype(np.float32), z.astype(np.float32), 1, exclude_self=True)[1]) for z in (image, cloud)
    )
    assert near < 0.5 * far
    assert len(np.unique(image.round(9), axis=0)) == 300


def test_smooth_images_are_continuous_and_unrelated():
    t = np.linspace(0, 1, 200)[:, None]
    curve = np.concatenate([t, t**2, np.sin(3 * t)], 1)
    correlations = []
    for seed in range(5):
        (first, second), _ = smooth_images([curve, curve], np.random.default_rng(seed))
        np.testing.assert_array_equal(first, second)
        # still a curve: the shortest tree through all cells is far shorter than in a normal cloud of the same variances
        cloud = gaussian_cloud(curve, np.random.default_rng(seed))
        tree_lengths = [minimum_spanning_tree(cdist(z, z)).sum() for z in (first, cloud)]
        assert tree_lengths[0] < 0.7 * tree_lengths[1]
        (other,), _ = smooth_images([curve], np.random.default_rng(seed + 100))
        order, other_order = (np.argsort(np.linalg.norm(z - z.mean(0), axis=1)) for z in (first, other))
        correlations.append(
            np.corrcoef(cdist(*[first[order]] * 2).ravel(), cdist(*[other[other_order]] * 2).ravel())[0, 1]
        )
    assert np.mean(correlations) < 0.5


def test_gaussian_cloud_has_mean_and_covariance():
    x = np.random.default_rng(0).normal(size=(4000, 3)) @ [[3, 1, 0], [0, 1, 0.5], [0, 0, 0.2]] + [5, 0, -1]
    cloud = gaussian_cloud(x, np.random.default_rng(1))
    np.testing.assert_allclose(cloud.mean(0), x.mean(0), atol=0.2)
    np.testing.assert_allclose(np.cov(cloud.T), np.cov(x.T), atol=0.5)


def test_nulls_of_degenerate_clouds():
    x = np.random.default_rng(0).normal(size=(5, 4))
    for cloud in (x, x[:4, :2], np.repeat(x[:3], 20, axis=0), np.outer(np.arange(30), [1, 2]), x.T):
        for null in (
            *smooth_images([cloud], np.random.default_rng(0))[0],
            gaussian_cloud(cloud, np.random.default_rng(0)),
        ):
            assert len(null) == len(cloud)
            assert np.isfinite(null).all()
            assert null.std() > 0


def test_reduced_keeps_distances():
    wide = np.random.default_rng(0).normal(size=(10, 50))
    small = reduced(wide)
    assert small.shape == (10, 10)
    np.testing.assert_allclose(small @ small.T, wide @ wide.T, atol=1e-9)


def blobs(rng, n=100):
    """A cloud of seven unequal clusters."""
    centres = 2 * rng.normal(size=(7, 6)) * np.linspace(2, 0.5, 6)
    label = rng.choice(7, n, p=rng.dirichlet(np.full(7, 3.0)))
    return centres[label] + 0.4 * rng.normal(size=(n, 6))


def tree(rng, n=100):
    """A branching cloud with unequal branches."""
    ends = rng.normal(size=(5, 4)) * [3, 2, 1, 1]
    branch = rng.choice(5, n, p=[0.35, 0.25, 0.2, 0.12, 0.08])
    return rng.random((n, 1)) * ends[branch] + 0.1 * rng.normal(size=(n, 4)) + ends[branch] * (branch % 2)[:, None]


def normal(rng, n=100):
    return rng.normal(size=(n, 6)) * 0.75 ** np.arange(6)


def test_related_clusters_are_significant():
    rng = np.random.default_rng(0)
    latent = blobs(rng)
    # two modalities: other axes, another scale, saturation
    x, y = (np.tanh(0.1 * latent @ np.linalg.qr(rng.normal(size=(6, 6)))[0]) for _ in range(2))
    test = null_test(x, y, SETTINGS, 4, np.random.default_rng(0), lambda: None)
    assert test.null_loss.shape == (len(NULLS), 4)
    assert test.pvalue == pytest.approx(0.2)


def test_unrelated_data_are_not_significant():
    pvalues = []
    for seed, make in enumerate((blobs, tree, normal) * 2):
        rng = np.random.default_rng(seed)
        pvalues.append(null_test(make(rng), make(rng), SETTINGS, 3, np.random.default_rng(seed), lambda: None).pvalue)
    # uniform p-values would be 1/4 in one of four
    assert np.sum(np.array(pvalues) <= 0.25) <= 3
    assert np.median(pvalues) >= 0.5


def test_pvalue_formula_takes_the_hardest_null():
    test = NullTest(1.0, np.array([[2.0, 3.0, 0.5, 1.0], [2.0, 2.0, 2.0, 2.0]]))
    assert test.pvalue == pytest.approx(3 / 5)
    assert np.isnan(NullTest(1.0, np.empty((4, 0))).pvalue)


@pytest.mark.parametrize(
    ("gap", "agreement", "n_cells", "ambiguous"),
    [
        (0.01, 0.2, 1000, True),
        (0.01, 0.95, 1000, False),
        (0.06, 0.2, 1000, False),
        (0.06, 0.2, 100, True),
        (-0.01, 0.2, 1000, True),
    ],
)
def test_ambiguity_rule(gap, agreement, n_cells, ambiguous):
    optima = Starts(["a", "b"], np.array([0.4, 0.4 + gap]), np.array([1.0, agreement]))
    assert is_ambiguous(optima, n_cells) == ambiguous
