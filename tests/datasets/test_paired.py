from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from scipy.spatial.distance import pdist

import saescape as sae


def test_partners_share_their_truth():
    adata, adata_ref = sae.datasets.paired(60, 80)
    assert adata.shape == (60, 16)
    assert adata_ref.shape == (80, 600)
    partners = adata_ref[adata.obs["partner"].astype(str)]
    np.testing.assert_array_equal(partners.obsm["programs"], adata.obsm["programs"])
    assert list(partners.obs["cell_type"]) == list(adata.obs["cell_type"])
    assert (adata_ref.obs["partner"] == "none").sum() == 20
    assert set(adata.var_names).isdisjoint(adata_ref.var_names)


def test_modules_follow_their_programs():
    _, rna = sae.datasets.paired(10, 400)
    # the mean of a module's genes follows its program better than that of any other module does
    r = []
    for k in range(24):
        module = np.asarray(rna[:, rna.var["program"] == f"program_{k}"].X.mean(1)).ravel()
        program = rna.obsm["programs"][:, k]
        if program.std() > 0.2:
            r.append(np.corrcoef(module, program)[0, 1])
    assert len(r) > 5
    assert np.median(r) > 0.7


def test_rho_sets_what_the_distances_have_in_common():
    shared = []
    for rho in (1.0, 0.5, 0.0):
        adata, adata_ref = sae.datasets.paired(150, 150, rho=rho, rng=3)
        partners = adata_ref[adata.obs["partner"].astype(str)]
        shared.append(np.corrcoef(pdist(adata.obsm["programs"]), pdist(partners.obsm["X_pca"]))[0, 1])
    assert shared[0] > 0.6
    assert shared[0] > shared[1] > shared[2]
    assert abs(shared[2]) < 0.25


def test_tokens_average_to_the_embedding():
    adata, _ = sae.datasets.paired(30, 30, n_positions=6)
    assert adata.obsm["tokens"].shape == (30, 6, 16)
    np.testing.assert_allclose(adata.obsm["tokens"].mean(1), adata.X, atol=1e-4)


def test_mirror_images_cannot_be_told_apart():
    adata, _ = sae.datasets.paired(400, 50, mirror=True, noise=0.0, n_types=4)
    x, programs = adata.X, adata.obsm["programs"]
    half = programs.shape[1] // 2
    # exchanging the halves of the programs is the reflection of half of the dimensions
    weights = np.linalg.lstsq(programs, x, rcond=None)[0]
    exchanged = np.concatenate([programs[:, half:], programs[:, :half]], 1) @ weights
    np.testing.assert_allclose(pdist(exchanged[:40]), pdist(x[:40]), rtol=1e-3)


def test_seeds_and_round_trips(tmp_path, global_state):
    first, second, third = (sae.datasets.paired(20, 25, rng=seed) for seed in (0, 0, 1))
    for a, b, c in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(a.obsm["programs"], b.obsm["programs"])
        assert not np.array_equal(a.obsm["programs"], c.obsm["programs"])
        a.write_h5ad(tmp_path / "a.h5ad")
        assert ad.read_h5ad(tmp_path / "a.h5ad").uns["paired"]["rho"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"rho": 1.5}, "`rho`"),
        ({"n_obs": 2}, "`n_obs` must be at least 4"),
        ({"mirror": True, "n_types": 3}, "`mirror` needs even numbers"),
        ({"n_genes": 100}, "`n_genes`"),
    ],
)
def test_bad_input(arguments, match):
    with pytest.raises(ValueError, match=match):
        sae.datasets.paired(**arguments)
