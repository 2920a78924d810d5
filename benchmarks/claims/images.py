from __future__ import annotations

import anndata as ad
import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.linear_model import RidgeCV
from torch.nn.functional import adaptive_avg_pool2d

import saescape as sae

from .matching import correlations
from .report import Check, Claim, spread

_CROP, _GRID = 96, 8
#: share of a position that a motif has to cover
_COVERED = 0.05


def run(seeds: list[int]) -> Claim:
    """T17: simulated neurons, tokens of a fixed filter bank, a default fit; concepts are motifs with known masks."""
    claim = Claim("T17", "Images: features stand for motifs, codes keep neighbours, the death rate is right")
    found = {
        name: [] for name in ("death", "recall", "recall pooled", "r", "r pooled", "map", "map filters", "r linear")
    }
    for seed in seeds:
        fields = sae.datasets.neurons(16, size=320, n_cells=8, n_ref=None, rng=seed)
        adata = _cells(fields)
        sae.tl.sae_fit(adata, use_rep="tokens", rng=seed, show_progress_bar=False)
        motifs = adata.obsm["concepts"]
        scaled = (motifs - motifs.mean(0)) / motifs.std(0).clip(1e-9)
        codes, pooled = adata.obsm["X_sae"].toarray(), adata.X / adata.X.std(0).clip(1e-9)
        found["recall"].append(sae.metrics.knn_recall(scaled, codes, 15))
        found["recall pooled"].append(sae.metrics.knn_recall(scaled, pooled, 15))
        half = np.random.default_rng(seed).permutation(adata.n_obs) % 2 == 0
        found["r"].append(_held_out(correlations, codes, motifs, half))
        found["r pooled"].append(_held_out(correlations, pooled, motifs, half))
        found["r linear"].append(_linear_ceiling(pooled, motifs, half))
        covered, of_position = _masks(fields, adata), np.repeat(half, _GRID**2)
        tokens = adata.obsm["tokens"].reshape(len(covered), -1)
        found["map"].append(_held_out(_areas, _token_codes(adata, tokens), covered, of_position))
        found["map filters"].append(_held_out(_areas, tokens, covered, of_position))
        found["death"].append(_death_error(fields))
    claim.checks += [
        Check("death rate, absolute error of the mean", found["death"], 0.01, above=False),
        Check("kNN recall over the pooled filters", np.subtract(found["recall"], found["recall pooled"]), 0.0),
        Check("correlation of the matched feature with its motif", found["r"], 0.9),
        Check("AUROC of the map of the matched feature", found["map"], 0.9),
    ]
    claim.say(
        "16 fields of 320 pixels, about 130 cells a seed, four channels (not the death dye), 12 motifs, 13 filters a "
        "channel on 8 x 8 positions of each cell's crop. A feature is matched to a motif on half of the cells and "
        "measured on the other half; so are single filters. A motif is at a position when it covers 5 % of it. The "
        "thresholds are those of simulated tokens (T8), which the claim asks of images only qualitatively."
    )
    claim.say(
        "What is known of a cell is limited by what the filters see: ridge regression of motif counts on the "
        f"pooled filters, on the other half of the cells, correlates {spread(found['r linear'])}. There are 52 filters "
        "for 12 motifs, so that nothing is in superposition, and tokens also hold soma, nucleus and neurites, which "
        "are no motifs and have features, too."
    )
    rows = [
        ["kNN recall of motif counts", spread(found["recall"]), spread(found["recall pooled"])],
        ["correlation with the number of motifs", spread(found["r"]), spread(found["r pooled"])],
        ["AUROC of the map", spread(found["map"]), spread(found["map filters"])],
    ]
    claim.table(["", "features", "filters"], rows)
    return claim


def _cells(fields) -> ad.AnnData:
    adata = sae.pp.image_to_adata(
        {name: image[:4] for name, image in fields.images.items()},
        fields.labels,
        channel_names=fields.channel_names[:4],
        encoder="filters",
        tokens=True,
        crop_size=_CROP,
        show_progress_bar=False,
    )
    adata.obsm["concepts"] = np.asarray(fields.truth[adata.obs_names].X, dtype=float)
    return adata


def _masks(fields, adata: ad.AnnData) -> np.ndarray:
    """Whether each motif is at each position of each cell, cut from its masks as the crops were from the images."""
    masks = sae.pp.image_to_adata(
        {name: fields.concept_masks[name].astype(np.uint8) for name in fields.images},
        fields.labels,
        encoder=lambda crops: adaptive_avg_pool2d(torch.as_tensor(crops, dtype=torch.float32), _GRID),
        normalize="none",
        tokens=True,
        crop_size=_CROP,
        show_progress_bar=False,
    )
    return masks[adata.obs_names].obsm["tokens"].reshape(adata.n_obs * _GRID**2, -1) > _COVERED


def _token_codes(adata: ad.AnnData, tokens: np.ndarray) -> np.ndarray:
    positions = ad.AnnData(obsm={"tokens": tokens})
    sae.tl.sae_transform(positions, adata, use_rep="tokens", show_progress_bar=False)
    return positions.obsm["X_sae"].toarray()


def _areas(features: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of every feature for every motif."""
    ranks = rankdata(features, axis=0)
    n = present.sum(0)
    below = ranks.T @ present - n * (n + 1) / 2
    return below / np.maximum(n * (len(present) - n), 1)


def _held_out(measure, features: np.ndarray, truth: np.ndarray, half: np.ndarray) -> float:
    """Match on one half, measure on the other; mean over concepts."""
    best = measure(features[half], truth[half]).argmax(0)
    return float(np.diag(measure(features[~half][:, best], truth[~half])).mean())


def _linear_ceiling(pooled: np.ndarray, motifs: np.ndarray, half: np.ndarray) -> float:
    model = RidgeCV(np.logspace(-1, 4, 12)).fit(pooled[half], motifs[half])
    return float(np.diag(correlations(model.predict(pooled[~half]), motifs[~half])).mean())


def _death_error(fields) -> float:
    """Mean share of nuclei above the threshold of the dye in the noisy image, against the truth."""
    threshold = fields.truth.uns["neurons"]["death_threshold"]
    shares = {}
    for name, image in fields.images.items():
        nuclei, above = fields.nuclei[name].ravel(), (image[-1] >= threshold).ravel()
        share = np.bincount(nuclei, above) / np.maximum(np.bincount(nuclei), 1)
        shares |= {(name, cell): share[cell] for cell in np.unique(nuclei) if cell}
    obs = fields.truth.obs
    measured = [shares[name, cell] for name, cell in zip(obs["region"], obs["instance_id"], strict=True)]
    return float(abs(np.mean(measured) - obs["cell_death"].mean()))
