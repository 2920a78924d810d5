"""T17: on simulated neurons the death rate can be read off the images, and features light up where motifs are."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch.nn.functional import adaptive_avg_pool2d

import saescape as sae


@pytest.fixture(scope="module")
def fields():
    return sae.datasets.neurons(6, size=256, n_cells=6, n_concepts=6, n_ref=None)


def test_death_rate_is_read_off_the_images(fields):
    truth = fields.truth
    threshold = truth.uns["neurons"]["death_threshold"]
    shares = []
    for region, cell in zip(truth.obs["region"], truth.obs["instance_id"], strict=True):
        shares.append(np.mean(fields.images[region][-1][fields.nuclei[region] == cell] >= threshold))
    assert np.mean(shares) == pytest.approx(truth.obs["cell_death"].mean(), abs=0.01)


def tokens_of(images, labels, encoder, **kwargs):
    adata = sae.pp.image_to_adata(
        images, labels, encoder=encoder, tokens=True, crop_size=96, show_progress_bar=False, **kwargs
    )
    return adata.obsm["tokens"].reshape(-1, adata.n_vars)


@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
@pytest.mark.filterwarnings("ignore::saescape._warnings.ConvergenceWarning")
def test_maps_of_features_show_motifs(fields):
    tokens = tokens_of({name: image[:4] for name, image in fields.images.items()}, fields.labels, "filters")
    masks = {name: fields.concept_masks[name].astype(np.uint8) for name in fields.images}
    covered = (
        tokens_of(
            masks,
            fields.labels,
            lambda crops: adaptive_avg_pool2d(torch.as_tensor(crops, dtype=torch.float32), 8),
            normalize="none",
        )
        > 0.05
    )
    adata = ad.AnnData(tokens)
    sae.tl.sae_fit(adata, 128, k=8, max_epochs=60, show_progress_bar=False)
    half = np.random.default_rng(0).random(len(tokens)) < 0.5

    def areas(features, present):
        n = present.sum(0)
        above = rankdata(features, axis=0).T @ present - n * (n + 1) / 2
        return above / (n * (len(present) - n))

    codes = adata.obsm["X_sae"].toarray()
    best = areas(codes[half], covered[half]).argmax(0)
    found = np.diag(areas(codes[~half][:, best], covered[~half]))
    assert np.mean(found) > 0.8
