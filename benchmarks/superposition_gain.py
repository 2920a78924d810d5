"""Error of sparse features beside that on Gaussian data of equal covariance. Called by ``superposition.py``."""

from __future__ import annotations

import anndata as ad
import numpy as np
import scanpy as sc

import saescape as sae

N_REFITS = 3


def data_sets():
    """Names and rows, cells `(n, d)` or tokens `(n, p, d)`; the first have nothing sparse in them."""
    rng = np.random.default_rng(0)
    yield "Gaussian cells", rng.normal(size=(2_000, 32))
    yield "Gaussian cells, variances 1/i", rng.normal(size=(2_000, 32)) / np.sqrt(1 + np.arange(32))
    yield "Gaussian tokens", rng.normal(size=(300, 32, 32)) + rng.normal(size=(300, 1, 32))
    for ratio in (1, 2, 4, 8):
        adata = sae.datasets.superposition(300, n_positions=32, n_concepts=32 * ratio, density=0.06 / min(ratio, 2))
        yield f"simulated tokens, m/d {ratio}", adata.obsm["tokens"]
    adata = sae.datasets.superposition(2_000, n_positions=1, n_concepts=64, density=0.06)
    yield "simulated cells of one position, m/d 2", adata.X
    yield "PCs of blood cells (pbmc68k)", sc.datasets.pbmc68k_reduced().obsm["X_pca"]
    fields = sae.datasets.nf1_cell_painting()
    painted = sae.pp.image_to_adata(
        fields.images, fields.labels, crop_size=111, encoder="filters", tokens=True, show_progress_bar=False
    )
    yield "Cell Painting, tokens of the filter bank", painted.obsm["tokens"]


def gain_lines():
    out = [
        f"Default fits (`k` and width from the data), then {N_REFITS} refits to the rows and to Gaussian ones. A",
        "dictionary overlaps most where it resolves nothing: the score of Gaussian data is mostly the higher. Cells",
        "in PCs of expression gain from their types alone. Tokens of the filter bank gain nothing: they are nearly",
        "low-rank, and there the score is no evidence of superposition.",
        "",
        "| data | size | k | m | score | score, Gaussian | FVU | FVU, Gaussian | sparse gain |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in data_sets():
        rows = np.asarray(rows, dtype=np.float32)
        adata = ad.AnnData(np.zeros((len(rows), 1), np.float32))
        adata.obsm["rows"] = rows
        sae.tl.sae_fit(adata, use_rep="rows", show_progress_bar=False)
        sae.tl.superposition_score(adata, n_perms=1, n_refits=N_REFITS)
        null = adata.uns["superposition_score"]["null"]["gaussian"]
        size = " x ".join(f"{n:,}" for n in rows.shape)
        values = [null["values_refitted"].mean(), null["mean"], null["fvu_refitted"].mean(), null["fvu"].mean()]
        cells = " | ".join(f"{value:.3f}" for value in values)
        out.append(f"| {name} | {size} | {null['k']} | {null['n_features']} | {cells} | {null['sparse_gain']:.2f} |")
    return out
