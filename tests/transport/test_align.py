from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from saescape.metrics import foscttm
from saescape.transport._align import Settings, align, align_pot
from saescape.transport._coreset import coreset
from saescape.transport._embedding import embed
from saescape.transport._pot import pot_entropic


def settings(metric="euclidean", **kwargs):
    return Settings(
        **{
            "metrics": (metric,),
            "n_neighbors": None,
            "epsilon": 0.1,
            "n_starts": 8,
            **kwargs,
        }
    )


@pytest.fixture(scope="module")
def isometry():
    """An asymmetric cloud, rotated, scaled and permuted."""
    rng = np.random.default_rng(0)
    x = rng.gamma(1.0, size=(150, 3)) * [4, 2, 1]
    order = rng.permutation(150)
    y = 3 * (x @ np.linalg.qr(rng.normal(size=(3, 3)))[0])[order]
    return x, y, order


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "geodesic"])
def test_isometry_is_recovered(isometry, metric):
    x, y, order = isometry
    # lengths of rows are seen by the Euclidean metric only
    target = y if metric == "euclidean" else y / np.linalg.norm(y, axis=1, keepdims=True)
    result = align(x, y, settings(metric, epsilon=0.02), [target], np.random.default_rng(0))
    truth = np.empty_like(target)
    truth[order] = target
    assert foscttm(result.readout.projections[0], truth) < 0.02
    assert result.loss < 0.05
    assert result.optima.agreement.max() == pytest.approx(1)


def test_order_of_cells_does_not_matter(isometry):
    x, y, _ = isometry
    rng = np.random.default_rng(5)
    rows, columns = rng.permutation(150), rng.permutation(150)
    first = align(x, y, settings(), [y], np.random.default_rng(0))
    second = align(x[rows], y[columns], settings(), [y[columns]], np.random.default_rng(0))
    np.testing.assert_allclose(second.loss, first.loss, atol=2e-3)
    plan = first.readout.coupling.toarray()[np.ix_(rows, columns)]
    np.testing.assert_allclose(second.readout.coupling.toarray(), plan, atol=5e-3 * plan.max())


def test_scale_does_not_matter(isometry):
    x, y, _ = isometry
    first = align(x, y, settings(), [y], np.random.default_rng(0))
    second = align(1e3 * x, 1e-3 * y, settings(), [y], np.random.default_rng(0))
    np.testing.assert_allclose(second.readout.projections[0], first.readout.projections[0], atol=0.02)


def test_same_seed_same_result(isometry):
    x, y, _ = isometry
    first, second = (align(x, y, settings(), [y], np.random.default_rng(3)) for _ in range(2))
    assert (first.readout.coupling != second.readout.coupling).nnz == 0
    assert first.loss == second.loss


def test_mirror_images_are_both_found():
    rng = np.random.default_rng(0)
    half = rng.gamma(1.0, size=(60, 2)) * [2, 1] + [0.5, 0]
    x = np.concatenate([half, half * [-1, 1]])
    result = align(x, x.copy(), settings(), [x], np.random.default_rng(0))
    near = result.optima.loss < result.optima.loss.min() + 0.02
    assert near.sum() >= 2
    assert result.optima.agreement[near].min() < 0


def test_extension_from_landmarks_agrees_with_all_cells(isometry):
    x, y, _ = isometry
    full = align(x, y, settings(), [y], np.random.default_rng(0))
    few = align(x, y, settings(n_landmarks=60), [y], np.random.default_rng(0))
    np.testing.assert_allclose(few.loss, full.loss, atol=0.01)
    correlation = np.corrcoef(few.readout.projections[0].ravel(), full.readout.projections[0].ravel())[0, 1]
    assert correlation > 0.99
    assert few.readout.marginal_error < 0.02


def test_as_many_landmarks_as_cells_are_the_dense_solution(isometry):
    x, y, _ = isometry
    ours = align(x, y, settings(epsilon=0.2, n_landmarks=150), [y], np.random.default_rng(0))
    points = [embed(side, "euclidean", rng=np.random.default_rng(0)).points for side in (x, y)]
    costs = [cdist(p, p, "sqeuclidean") for p in points]
    # POT stays where it is put, so the plan is a solution of the dense problem too
    start = ours.readout.coupling.toarray().astype(np.float64)
    for _ in range(50):
        start *= 1 / (150 * start.sum(1, keepdims=True))
        start *= 1 / (150 * start.sum(0, keepdims=True))
    theirs = pot_entropic(*costs, 0.2, start=start)
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=0.03)
    assert np.abs(theirs.plan - start).sum() < 0.1


def test_pot_finds_the_same_coupling(isometry):
    x, y, _ = isometry
    ours = align(x[:80], y[:80], settings(epsilon=0.15), [y[:80]], np.random.default_rng(0))
    theirs = align_pot(x[:80], y[:80], settings(epsilon=0.15, n_starts=4), [y[:80]], np.random.default_rng(0))
    assert theirs.starts.kinds == ["product", "distances", "distances", "axes"]
    assert ours.loss <= theirs.loss + 0.02
    correlation = np.corrcoef(ours.readout.projections[0].ravel(), theirs.readout.projections[0].ravel())[0, 1]
    assert correlation > 0.98


def test_coreset_means_and_weights():
    points = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    summary = coreset(points, 20, np.random.default_rng(0))
    assert len(summary.weight) <= 20
    np.testing.assert_allclose(summary.weight.sum(), 1)
    np.testing.assert_allclose(summary.weight @ summary.means(points), points.mean(0), atol=1e-5)
    everything = coreset(points, 300, np.random.default_rng(0))
    np.testing.assert_array_equal(everything.means(points), points)
