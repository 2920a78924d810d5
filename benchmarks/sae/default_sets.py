"""Data sets on which the defaults are held against tuned settings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import anndata as ad
import numpy as np

from saescape import datasets, pp

from .simulations import correlated, frequencies, hierarchy, independent, rows_of, unequal_rows

if TYPE_CHECKING:
    from collections.abc import Callable


class Truth(NamedTuple):
    dictionary: np.ndarray
    #: per observation; of tokens, averaged over positions
    codes: object
    l0: float


class DataSet(NamedTuple):
    adata: ad.AnnData
    use_rep: str | None
    truth: Truth | None

    @property
    def rows(self) -> np.ndarray:
        values = self.adata.X if self.use_rep is None else self.adata.obsm[self.use_rep]
        return np.asarray(values).reshape(-1, values.shape[-1])

    @property
    def is_tokens(self) -> bool:
        return self.use_rep is not None and self.adata.obsm[self.use_rep].ndim == 3


def _planted(n: int, d: int, n_true: int, l0: float, seed: int, *, kind: str = "independent", **options) -> DataSet:
    rng = np.random.default_rng([seed, n, d])
    probability = frequencies(n_true, l0, options.pop("zipf", 0.5))
    if kind == "correlated":
        present = correlated(n, probability, rng, n_factors=8, strength=0.5)
    elif kind == "unequal":
        present = unequal_rows(n, probability, rng, spread=0.7)
    elif kind == "hierarchy":
        present = hierarchy(n, n_true, l0, rng, n_children=3)
    else:
        present = independent(n, probability, rng)
    simulated = rows_of(present, d, rng, **options)
    truth = Truth(simulated.dictionary, simulated.codes, float(present.sum(1).mean()))
    return DataSet(ad.AnnData(simulated.x), None, truth)


def _tokens(n_concepts: int, seed: int, n_obs: int, n_dims: int = 32, **options) -> DataSet:
    adata = datasets.superposition(n_obs, n_concepts=n_concepts, n_dims=n_dims, rng=seed, **options)
    truth = adata.uns["truth"]
    return DataSet(adata, "tokens", Truth(truth["dictionary"], adata.obsm["concepts"], float(truth["l0"])))


def _digits() -> DataSet:
    from sklearn.datasets import load_digits

    return DataSet(ad.AnnData(load_digits().data.astype(np.float32)), None, None)


def _pbmc() -> DataSet:
    import scanpy as sc

    return DataSet(sc.datasets.pbmc68k_reduced(), "X_pca", None)


def _cell_painting() -> DataSet:
    fields = datasets.nf1_cell_painting()
    adata = pp.image_to_adata(
        fields.images,
        fields.labels,
        channel_names=fields.channel_names,
        encoder="filters",
        tokens=True,
        crop_size=128,
        mask_crops=False,
        show_progress_bar=False,
    )
    return DataSet(adata, "tokens", None)


def _visium() -> DataSet:
    rna, image = datasets.visium_brain_crop()
    adata = pp.image_to_adata(
        image,
        centers=rna.obsm["spatial"],
        crop_size=89,
        mask_crops=False,
        encoder="filters",
        tokens=True,
        show_progress_bar=False,
    )
    return DataSet(adata, "tokens", None)


def _blood_cells() -> DataSet:
    fields = datasets.blood_smear()
    centers = {field: boxes[["x", "y"]].to_numpy() for field, boxes in fields.boxes.groupby("field")}
    adata = pp.image_to_adata(
        {field: fields.images[field] for field in centers},
        centers=centers,
        crop_size=96,
        mask_crops=False,
        encoder="filters",
        show_progress_bar=False,
    )
    return DataSet(adata, None, None)


#: functions of the seed of the data
SIMULATED: dict[str, Callable[[int], DataSet]] = {
    "d 20, m/d 2": lambda seed: _planted(10_000, 20, 40, 3, seed),
    "d 64, m/d 2": lambda seed: _planted(18_000, 64, 128, 6, seed),
    "d 64, m/d 3": lambda seed: _planted(18_000, 64, 192, 7, seed),
    "d 128, m/d 3": lambda seed: _planted(15_000, 128, 384, 9, seed),
    "dense": lambda seed: _planted(15_000, 128, 256, 20, seed),
    "correlated": lambda seed: _planted(16_000, 96, 192, 8, seed, kind="correlated"),
    "unequal rows": lambda seed: _planted(16_000, 96, 192, 7, seed, kind="unequal"),
    "hierarchy": lambda seed: _planted(16_000, 96, 240, 7, seed, kind="hierarchy"),
    "coherent pairs": lambda seed: _planted(16_000, 80, 160, 6, seed, coherence=0.5),
    "zipf": lambda seed: _planted(20_000, 128, 256, 8, seed, zipf=1.0),
    "noise 30 %": lambda seed: _planted(15_000, 128, 256, 8, seed, noise=0.3),
    "n 2,000": lambda seed: _planted(2_000, 64, 128, 6, seed),
    "n 2,000, d 20": lambda seed: _planted(2_000, 20, 40, 3, seed),
    "d 512, m/d 2": lambda seed: _planted(12_000, 512, 1024, 10, seed),
    "tokens, orthonormal": lambda seed: _tokens(32, seed, 250),
    "tokens, m/d 2": lambda seed: _tokens(64, seed, 250),
    "tokens, m/d 4": lambda seed: _tokens(128, seed, 250),
    "tokens, d 48, m/d 3": lambda seed: _tokens(144, seed, 200, n_dims=48, density=0.02, coherence=0.3),
}
REAL: dict[str, Callable[[], DataSet]] = {
    "digits": _digits,
    "pbmc68k PCs": _pbmc,
    "Cell Painting tokens": _cell_painting,
    "Visium tokens": _visium,
    "blood cells": _blood_cells,
}
NAMES = (*SIMULATED, *REAL)


def load(name: str, seed: int) -> DataSet:
    """The data set of that name; real ones are the same for every seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SIMULATED[name](seed) if name in SIMULATED else REAL[name]()


def describe(name: str, data: DataSet) -> str:
    """Rows, dimensions, true directions and how many of them are active."""
    n, d = data.rows.shape
    text = f"{n:,} x {d}"
    return text if data.truth is None else f"{text}; {len(data.truth.dictionary)} true, {data.truth.l0:.1f} active"
