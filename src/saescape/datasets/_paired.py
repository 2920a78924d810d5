from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._random import as_generator, rng_param
from saescape._validate import check_integer, check_real
from saescape.simulation._firing import check_share
from saescape.simulation._paired_image import image_side
from saescape.simulation._paired_rna import MODULE_SIZE, Measurement, rna_side
from saescape.simulation._paired_tree import Tree

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._typing import Rng


@doc_params
def paired(
    n_obs: int = 500,
    n_ref: int = 500,
    *,
    n_programs: int = 24,
    n_types: int = 5,
    n_dims: int = 16,
    n_genes: int = 600,
    n_positions: int | None = None,
    rho: float = 1.0,
    noise: float = 0.1,
    mirror: bool = False,
    imbalance: float = 0.0,
    unmatched: float = 0.0,
    n_batches: int = 1,
    batch_effect: float = 0.3,
    dropout: float = 0.0,
    warp: float = 0.0,
    rng: Rng = 0,
) -> tuple[AnnData, AnnData]:
    """Images and RNA of cells of the same kinds, simulated with known truth.

    Cells of a few unequally frequent types, the branches of a differentiation tree, express sparse non-negative
    programs. The image side is their superposition in fewer dimensions than there are programs; on the RNA side each
    program drives a module of genes. The two sides share no variables.

    Parameters
    ----------
    n_obs
        Cells on the image side.
    n_ref
        Cells on the RNA side. The first ``min(n_obs, n_ref)`` cells of the image side have a partner there, unless
        `imbalance` or `unmatched` takes it away.
    n_programs
        Number of programs; even when `mirror`.
    n_types
        Number of cell types; even when `mirror`.
    n_dims
        Dimensions of the image embedding; with fewer dimensions than programs these are in superposition.
    n_genes
        Number of genes; those beyond the modules are not regulated.
    n_positions
        Also make tokens, this many per cell.
    rho
        Share of the RNA side's variation that is the same as on the image side; the rest comes from other programs
        of independent cells. 1 is one latent space, 0 is **unrelated** data: the cell types are then those of the
        image side's partners and say nothing about the RNA.
    noise
        SD of the noise of the image embedding, in units of the embedding's own SD.
    mirror
        Make the programs mirror-symmetric: types come in pairs (0 and 1, 2 and 3, ...) that no distance can tell
        apart, so that the exchange of all pairs is as good an alignment as the truth.
    imbalance
        How far the frequencies of the types are reversed on the RNA side: 0 the same, 1 the rarest type is as frequent
        there as the most frequent one is on the image side. As few RNA cells as possible are exchanged for cells
        without a partner.
    unmatched
        Share of the image cells, in [0, 1), that belong to one more type, which the RNA side lacks. They are drawn at
        random and have no partner. With `mirror` this type is its own mirror image.
    n_batches
        Batches of equal size on the RNA side, drawn at random.
    batch_effect
        Standard deviation of the difference, natural logarithm, that a batch makes to the expression of each gene.
        Without effect for a single batch.
    dropout
        Share of the entries of the counts, in [0, 1), that are lost at random.
    warp
        Standard deviation of the logarithm of the exponent to which each shared program is raised on the RNA side. The
        map is monotone and keeps the program's standard deviation; 0 keeps the programs as they are.
    {rng}

    Returns
    -------
    The image side and the RNA side, cells of the latter in random order.

    `adata.X`, `adata.obsm['X_image']` : :class:`numpy.ndarray` (dtype `float32`)
        Image embedding.
    `adata.obsm['tokens']` : :class:`numpy.ndarray` (dtype `float32`)
        With `n_positions`: tokens `(n_obs, n_positions, n_dims)`, whose mean is the embedding.
    `adata_ref.layers['counts']`, `adata_ref.X` : :class:`scipy.sparse.csr_matrix` (dtype `float32`)
        Counts, and their logarithms after normalisation to 10,000 per cell.
    `adata_ref.obsm['X_pca']`, `adata_ref.varm['PCs']` : :class:`numpy.ndarray`
        20 principal components of `.X` and their loadings.
    `adata_ref.var['program']` : :class:`pandas.Series` (dtype `category`)
        Program that drives the gene, or `"none"`.
    `adata_ref.obs['batch']` : :class:`pandas.Series` (dtype `category`)
        With `n_batches` above 1: batch of the cell.
    `adata_ref.varm['batch_offset']` : :class:`numpy.ndarray` (dtype `float32`)
        With `n_batches` above 1: what each batch adds to the log expression of each gene, `(n_genes, n_batches)`.
    `.obs['cell_type']`, `.obs['gradient']` : :class:`pandas.Series`
        Type and position along its branch, on both sides.
    `.obs['partner']` : :class:`pandas.Series` (dtype `category`)
        Name of the same cell on the other side, or `"none"`.
    `.obs['matched']` : :class:`pandas.Series` (dtype `bool`)
        Whether the other side was made with cells of this type: false for the `unmatched` cells only.
    `.obsm['programs']` : :class:`numpy.ndarray` (dtype `float32`)
        True program activities, before the `warp`.
    `.uns['paired']` : :class:`dict`
        The parameters.

    Raises
    ------
    ValueError
        If a number is out of range, `mirror` is asked with odd numbers, or the genes cannot hold the modules.

    Examples
    --------
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.paired(100, 120)
    >>> adata.shape, adata_ref.shape
    ((100, 16), (120, 600))
    """
    n_obs, n_ref = check_integer("n_obs", n_obs, 4), check_integer("n_ref", n_ref, 4)
    n_programs, n_types = check_integer("n_programs", n_programs, 2), check_integer("n_types", n_types, 1)
    n_dims = check_integer("n_dims", n_dims, 2)
    n_genes = check_integer("n_genes", n_genes, MODULE_SIZE[0] * n_programs)
    if n_positions is not None:
        n_positions = check_integer("n_positions", n_positions, 1)
    rho = check_real("rho", rho, 0.0, 1.0, open_low=False)
    noise = check_real("noise", noise, 0.0, open_low=False)
    if mirror and (n_programs % 2 or n_types % 2 or n_dims % 2):
        msg = f"`mirror` needs even numbers; found `n_programs` {n_programs}, `n_types` {n_types}, `n_dims` {n_dims}."
        raise ValueError(msg)
    imbalance = check_real("imbalance", imbalance, 0.0, 1.0, open_low=False)
    n_batches = check_integer("n_batches", n_batches, 1, n_ref, high_name="n_ref")
    batch_effect = check_real("batch_effect", batch_effect, open_low=False)
    warp = check_real("warp", warp, open_low=False)
    check_share("unmatched", unmatched)
    check_share("dropout", dropout)
    generator = as_generator(rng)
    params = {
        "n_programs": n_programs,
        "n_types": n_types,
        "rho": rho,
        "noise": noise,
        "mirror": bool(mirror),
        "imbalance": imbalance,
        "unmatched": float(unmatched),
        "n_batches": n_batches,
        "batch_effect": batch_effect,
        "dropout": float(dropout),
        "warp": warp,
        "rng": rng_param(rng),
    }
    # what was added later draws from streams of its own, so that the other results stay as they were
    balance_rng, unmatched_rng, measurement_rng = generator.spawn(3)

    n_cells = max(n_obs, n_ref)
    tree = Tree(n_types, n_programs, mirror=mirror, rng=generator)
    cells = tree.cells(n_cells, generator)
    private = Tree(n_types, n_programs, mirror=mirror, rng=generator).cells(n_cells, generator).programs
    of_rna, is_new = tree.rebalanced(cells, imbalance, balance_rng)
    outside = unmatched_rng.permutation(n_obs)[: round(unmatched * n_obs)]
    of_image = cells.replace(outside, tree.outsiders(len(outside), unmatched_rng))
    matched = np.ones(n_cells, dtype=bool)
    matched[outside] = False

    order = generator.permutation(n_ref)
    # the same cells on both sides, by their number
    paired_up = matched & ~is_new & (np.arange(n_cells) < min(n_obs, n_ref))
    place = np.argsort(order)
    partner_of_image = [f"rna_{place[i]}" if paired_up[i] else "none" for i in range(n_obs)]
    partner_of_rna = [f"image_{i}" if paired_up[i] else "none" for i in order]

    adata = image_side(of_image.programs[:n_obs], n_dims, n_positions, noise, mirror=mirror, rng=generator)
    measurement = Measurement(n_batches, batch_effect, dropout, warp, measurement_rng)
    adata_ref = rna_side(
        of_rna.programs[order], private[order], n_genes, rho, measurement, mirror=mirror, rng=generator
    )
    sides = (
        (adata, "image", of_image.take(slice(n_obs)), partner_of_image, matched[:n_obs]),
        (adata_ref, "rna", of_rna.take(order), partner_of_rna, np.ones(n_ref, dtype=bool)),
    )
    for side, name, truth, partner, is_matched in sides:
        side.obs_names = [f"{name}_{i}" for i in range(side.n_obs)]
        side.obs["cell_type"] = pd.Categorical([f"type_{c}" for c in truth.cell_type])
        side.obs["gradient"] = truth.gradient
        side.obs["partner"] = pd.Categorical(partner)
        side.obs["matched"] = is_matched
        side.obsm["programs"] = truth.programs.astype(np.float32)
        side.uns["paired"] = dict(params)
    return adata, adata_ref
