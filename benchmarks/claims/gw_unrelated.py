from __future__ import annotations

import anndata as ad
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict

from saescape.transport._nulls import gaussian_cloud, smooth_images

from .gw_pairs import accuracy, mapped, pair
from .report import Check, Claim, spread, t_interval

_CELLS, _N_NULLS, _N_SHUFFLES, _N_TYPES = 200, 4, 39, 5
_ALPHAS = np.logspace(-2, 3, 6)


def run(seeds: list[int]) -> Claim:
    """T12: unrelated sides; what the map gives is predictable from the images, and so is what any map gives."""
    claim = Claim("T12", "GW, unrelated sides: labels at chance, predictability no better than that of refitted nulls")
    found = np.array([_measure(seed) for seed in seeds])
    balanced = found[:, 0]
    low, high = t_interval(balanced)
    inside = min(high - 1 / _N_TYPES, 1 / _N_TYPES - low)
    shown = f"interval of the balanced accuracy ({low:.2f} to {high:.2f}) covers {1 / _N_TYPES:g}: by how much"
    claim.checks += [
        Check(shown, [inside], 0.0),
        Check("R2 of the transported targets (cross-validated ridge)", found[:, 1], 0.8),
        Check("p of this R2, against refitted nulls", found[:, 3], 0.05),
        Check("p of this R2, against shuffled rows", found[:, 4], 0.05, above=False),
    ]
    claim.say(
        f"R2 of `X_gw` from the images. Refitted nulls: the images are mapped on {_N_NULLS} smooth images and as many "
        f"normal clouds of the reference, and the R2 of that is taken (p is the larger of the two, at least "
        f"{1 / (1 + _N_NULLS):g}). Shuffled rows: {_N_SHUFFLES} times."
    )
    header = ["balanced accuracy", "R2", "mean R2 of refitted nulls", "p refitted", "p shuffled"]
    claim.table(header, [[spread(column) for column in found.T]])
    return claim


def _measure(seed: int) -> list[float]:
    adata, adata_ref = pair(_CELLS, seed, rho=0.0)
    mapped(adata, adata_ref)
    balanced = accuracy(adata)
    r2 = _r2(adata.X, adata.obsm["X_gw"])
    rng = np.random.default_rng(seed)
    shuffled = [_r2(adata.X, adata.obsm["X_gw"][rng.permutation(_CELLS)]) for _ in range(_N_SHUFFLES)]
    reference = adata_ref.obsm["X_pca"]
    nulls = np.array([[_refit(adata, cloud) for cloud in _clouds(reference, rng)] for _ in range(_N_NULLS)])
    pvalue = (1 + (nulls >= r2).sum(0)).max() / (1 + _N_NULLS)
    return [balanced, r2, nulls.mean(), pvalue, (1 + np.sum(np.array(shuffled) >= r2)) / (1 + _N_SHUFFLES)]


def _clouds(reference: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return smooth_images([reference], rng)[0], gaussian_cloud(reference, rng)


def _refit(adata: ad.AnnData, cloud: np.ndarray) -> float:
    null = ad.AnnData(np.zeros((len(cloud), 1)), obsm={"X_pca": cloud.astype(np.float32)})
    images = ad.AnnData(adata.X, obsm={"X_image": adata.X})
    mapped(images, null, obs=None)
    return _r2(adata.X, images.obsm["X_gw"])


def _r2(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance, over all dimensions, that is predicted in five folds."""
    x = (x - x.mean(0)) / x.std(0)
    left = y - cross_val_predict(RidgeCV(_ALPHAS), x, y, cv=5)
    return float(1 - (left**2).sum() / ((y - y.mean(0)) ** 2).sum())
