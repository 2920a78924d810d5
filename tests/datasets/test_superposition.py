from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

import saescape as sae


def test_tokens_are_concepts_times_dictionary():
    adata = sae.datasets.superposition(30, n_positions=5, n_dims=7, n_concepts=11, noise=0.0, density=0.2)
    assert adata.obsm["tokens"].shape == (30, 5, 7)
    truth = adata.uns["truth"]
    np.testing.assert_allclose(adata.X, adata.obsm["concepts"] @ truth["dictionary"], atol=1e-5)
    np.testing.assert_allclose(adata.X, adata.obsm["tokens"].mean(1), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(truth["dictionary"], axis=1), 1, atol=1e-6)
    assert (adata.obsm["concepts"] >= 0).all()


def test_density_noise_and_strength_are_as_asked_for():
    adata = sae.datasets.superposition(800, n_positions=20, n_dims=4, n_concepts=50, density=0.02)
    # Gamma(1/2) rates are rarely cut off at 1
    assert adata.uns["truth"]["l0"] == pytest.approx(50 * 0.02, rel=0.05)
    assert adata.obsm["concepts"].mean() == pytest.approx(0.02, rel=0.07)
    quiet = sae.datasets.superposition(200, n_dims=6, density=1e-9, noise=0.3)
    assert quiet.obsm["tokens"].std() == pytest.approx(0.3, rel=0.02)


def test_orthonormal_when_possible_and_coherent_when_asked_for():
    gram = lambda a: a.uns["truth"]["dictionary"] @ a.uns["truth"]["dictionary"].T  # noqa: E731
    np.testing.assert_allclose(gram(sae.datasets.superposition(2, n_dims=9, n_concepts=9)), np.eye(9), atol=1e-6)
    adata = sae.datasets.superposition(2, n_dims=200, n_concepts=100, coherence=0.6)
    cluster = adata.uns["truth"]["cluster"]
    same = (cluster[:, None] == cluster) & ~np.eye(100, dtype=bool)
    assert gram(adata)[same].mean() == pytest.approx(0.6, abs=0.03)
    assert np.abs(gram(adata)[cluster[:, None] != cluster]).mean() < 0.1


def test_pooling_loses_neighbours_only_in_superposition():
    recall = {}
    for m in (16, 64):
        adata = sae.datasets.superposition(200, n_positions=32, n_dims=16, n_concepts=m)
        recall[m] = sae.metrics.knn_recall(adata.X, adata.obsm["concepts"], 10)
    assert recall[16] > 0.85
    assert recall[64] < 0.5


def test_deterministic_and_writes(tmp_path, global_state):
    first, second = sae.datasets.superposition(20), sae.datasets.superposition(20)
    np.testing.assert_array_equal(first.obsm["tokens"], second.obsm["tokens"])
    assert not np.array_equal(first.X, sae.datasets.superposition(20, rng=1).X)
    first.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(back.uns["truth"]["dictionary"], first.uns["truth"]["dictionary"])


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"n_obs": 0}, "`n_obs` must be at least 1"),
        ({"n_concepts": 0}, "`n_concepts` must be at least 1"),
        ({"density": 0.0}, "`density` must be greater than 0"),
        ({"density": 1.5}, "`density` .* at most 1"),
        ({"noise": -1.0}, "`noise` must be at least 0"),
        ({"coherence": 1.0}, "`coherence` must be at least 0 and less than 1"),
        ({"coherence": -0.1}, "`coherence` must be at least 0"),
    ],
)
def test_bad_input(kwargs, match):
    with pytest.raises(ValueError, match=match):
        sae.datasets.superposition(**kwargs)
