from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc

import saescape as sae


def test_halves_are_the_genes_of_scanpys_data():
    adata, adata_ref = sae.datasets.pbmc_halves()
    full = sc.datasets.pbmc68k_reduced()
    assert list(adata.obs_names) == list(adata_ref.obs_names) == list(full.obs_names)
    assert set(adata.var_names) | set(adata_ref.var_names) == set(full.raw.var_names)
    assert not set(adata.var_names) & set(adata_ref.var_names)
    for side in (adata, adata_ref):
        np.testing.assert_array_equal(side.X.toarray(), full.raw[:, side.var_names].X.toarray())
        np.testing.assert_array_equal(side.obs["cell_type"], full.obs["bulk_labels"])
        assert len(side.uns["cell_type_colors"]) == side.obs["cell_type"].cat.categories.size


@pytest.mark.parametrize("number", [0, 1])
def test_components_are_those_of_the_side(number):
    side = sae.datasets.pbmc_halves()[number]
    scaled = side.X.toarray().astype(float)
    scaled = np.clip((scaled - scaled.mean(0)) / scaled.std(0, ddof=1), -10, 10)
    scores = side.obsm["X_pca"]
    # orthogonal directions, and as much variance as the best 20 can have
    np.testing.assert_allclose(side.varm["PCs"].T @ side.varm["PCs"], np.eye(20), atol=1e-4)
    np.testing.assert_allclose((scaled - scaled.mean(0)) @ side.varm["PCs"], scores, atol=1e-2)
    singular = np.linalg.svd(scaled - scaled.mean(0), compute_uv=False)[:20]
    np.testing.assert_allclose(np.linalg.norm(scores, axis=0), singular, rtol=1e-3)


def test_partners_lie_close_under_the_best_linear_map():
    adata, adata_ref = sae.datasets.pbmc_halves()
    x, y = (side.obsm["X_pca"] - side.obsm["X_pca"].mean(0) for side in (adata, adata_ref))
    predicted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert sae.metrics.foscttm(predicted, y) < 0.06
