"""Pairs of modalities: stored real ones and simulated ones, row i of both sides the same cell where `paired`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: arguments of `datasets.paired`
SIMULATED = {
    "simulated 5 branches": {"n_obs": 500, "n_ref": 500, "rng": 0},
    "simulated 8 branches": {"n_obs": 1000, "n_ref": 1000, "n_types": 8, "n_dims": 32, "noise": 0.05, "rng": 0},
}


@dataclass(frozen=True)
class Pair:
    """Rows, integer labels (-1 unknown), and whether the rows are paired; the last two only score."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    labels_x: NDArray[np.int64]
    labels_y: NDArray[np.int64]
    paired: bool

    def truth(self) -> NDArray[np.float64]:
        """The coupling of every cell with its partner."""
        return np.eye(len(self.x)) / len(self.x)


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.npz")) + list(SIMULATED)


def folder_of(name: str, folder: Path, cache: Path) -> Path:
    return cache if name in SIMULATED else folder


def load(folder: Path, name: str) -> Pair:
    with np.load(folder / f"{name}.npz") as stored:
        x, y = stored["X"].astype(float), stored["Y"].astype(float)
        return Pair(x, y, stored["lx"].astype(int), stored["ly"].astype(int), bool(stored["paired"]))


def store_simulated(folder: Path, name: str) -> None:
    """Write a simulated pair as the real ones are stored."""
    pair = _simulate(name)
    np.savez(folder / f"{name}.npz", X=pair.x, Y=pair.y, lx=pair.labels_x, ly=pair.labels_y, paired=pair.paired)


def _simulate(name: str) -> Pair:
    import saescape as sae

    adata, adata_ref = sae.datasets.paired(**SIMULATED[name])
    # related (rho = 1), no cell without a partner: the reference is put in the order of the image side
    adata_ref = adata_ref[adata.obs["partner"].astype(str)]
    types = adata.obs["cell_type"].cat.categories
    labels = [types.get_indexer(side.obs["cell_type"]) for side in (adata, adata_ref)]
    return Pair(adata.obsm["X_image"].astype(float), adata_ref.obsm["X_pca"].astype(float), *labels, paired=True)
