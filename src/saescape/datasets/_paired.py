from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from saescape._docs import doc_params
from saescape._random import as_generator, rng_param
from saescape._validate import check_integer, check_real

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._typing import FloatArray, IntArray, Rng

_DISPERSION = 0.3
_MODULE_SIZE = (10, 30)


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
        Cells on the RNA side. The first ``min(n_obs, n_ref)`` cells of the image side have a partner there.
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
    `.obs['cell_type']`, `.obs['gradient']` : :class:`pandas.Series`
        Type and position along its branch, on both sides.
    `.obs['partner']` : :class:`pandas.Series` (dtype `category`)
        Name of the same cell on the other side, or `"none"`.
    `.obsm['programs']` : :class:`numpy.ndarray` (dtype `float32`)
        True program activities.
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
    n_genes = check_integer("n_genes", n_genes, _MODULE_SIZE[0] * n_programs)
    if n_positions is not None:
        n_positions = check_integer("n_positions", n_positions, 1)
    rho = check_real("rho", rho, 0.0, 1.0, open_low=False)
    noise = check_real("noise", noise, 0.0, open_low=False)
    if mirror and (n_programs % 2 or n_types % 2 or n_dims % 2):
        msg = f"`mirror` needs even numbers; found `n_programs` {n_programs}, `n_types` {n_types}, `n_dims` {n_dims}."
        raise ValueError(msg)
    generator = as_generator(rng)
    params = {
        "n_programs": n_programs,
        "n_types": n_types,
        "rho": rho,
        "noise": noise,
        "mirror": bool(mirror),
        "rng": rng_param(rng),
    }

    n_cells = max(n_obs, n_ref)
    tree = _Tree(n_types, n_programs, mirror=mirror, rng=generator)
    cell_type, gradient, programs = tree.cells(n_cells, generator)
    other = _Tree(n_types, n_programs, mirror=mirror, rng=generator).cells(n_cells, generator)[2]

    order = generator.permutation(n_ref)
    image_names = np.array([f"image_{i}" for i in range(n_obs)])
    rna_names = np.array([f"rna_{i}" for i in range(n_ref)])
    n_pairs = min(n_obs, n_ref)
    place = np.argsort(order)
    partner_of_image = np.array(["none"] * n_obs, dtype=object)
    partner_of_image[:n_pairs] = rna_names[place[:n_pairs]]
    partner_of_rna = np.array([image_names[i] if i < n_obs else "none" for i in order], dtype=object)

    adata = _image_side(programs[:n_obs], n_dims, n_positions, noise, mirror=mirror, rng=generator)
    adata_ref = _rna_side(programs[order], other[order], n_genes, rho, mirror=mirror, rng=generator)
    sides = ((adata, np.arange(n_obs), image_names, partner_of_image), (adata_ref, order, rna_names, partner_of_rna))
    for side, cells, names, partner in sides:
        side.obs_names = names
        side.obs["cell_type"] = pd.Categorical([f"type_{c}" for c in cell_type[cells]])
        side.obs["gradient"] = gradient[cells]
        side.obs["partner"] = pd.Categorical(partner)
        side.obsm["programs"] = programs[cells].astype(np.float32)
        side.uns["paired"] = dict(params)
    return adata, adata_ref


class _Tree:
    """Cell types as branches of a tree: where each starts in program space and how it goes on."""

    def __init__(self, n_types: int, n_programs: int, *, mirror: bool, rng: np.random.Generator) -> None:
        on = rng.random((n_types, n_programs)) < 0.25
        # each type changes something, and no two branches are equally long
        on[np.arange(n_types), rng.integers(n_programs, size=n_types)] = True
        self.change = on * rng.gamma(3.0, 1 / 3, on.shape) * rng.uniform(0.6, 1.6, (n_types, 1))
        self.frequency = 0.75 ** np.arange(n_types)
        # what all cells have in common
        root = (rng.random(n_programs) < 0.4) * rng.gamma(3.0, 1 / 3, n_programs)
        # two branches leave the root, the others the end of an earlier one
        parent = np.array([-1 if c < 2 else int(rng.integers(c)) for c in range(n_types)])
        if mirror:
            # each odd type is its even partner with the two halves of the programs exchanged
            half = n_programs // 2
            self.change[1::2] = np.concatenate([self.change[::2, half:], self.change[::2, :half]], 1)
            self.frequency[1::2] = self.frequency[::2]
            root[half:] = root[:half]
            parent[2::2] = parent[2::2] // 2 * 2
            parent[3::2] = parent[2::2] + 1
        self.frequency = self.frequency / self.frequency.sum()
        self.start = np.tile(root, (n_types, 1))
        for c in range(2, n_types):
            self.start[c] = self.start[parent[c]] + self.change[parent[c]]

    def cells(self, n: int, rng: np.random.Generator) -> tuple[IntArray, FloatArray, FloatArray]:
        """Types, positions along the branches and program activities of `n` cells."""
        cell_type = rng.choice(len(self.frequency), n, p=self.frequency)
        position = rng.random(n)
        mean = self.start[cell_type] + position[:, None] * self.change[cell_type]
        return cell_type, position, mean * rng.lognormal(0, 0.2, mean.shape)


def _image_side(
    programs: FloatArray, n_dims: int, n_positions: int | None, noise: float, *, mirror: bool, rng: np.random.Generator
) -> AnnData:
    n, n_programs = programs.shape
    dictionary = rng.normal(size=(n_programs, n_dims))
    if mirror:
        # partners are mirror images: the reflection exchanges them and keeps all distances
        half = n_programs // 2
        reflection = np.where(np.arange(n_dims) < n_dims // 2, 1.0, -1.0)
        dictionary[half:] = dictionary[:half] * reflection
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    scale = noise * float(np.sqrt((programs @ dictionary).var(0).mean()))
    tokens = None
    if n_positions is None:
        embedding = programs @ dictionary + scale * rng.normal(size=(n, n_dims))
    else:
        # a program is on in some tokens only, with the cell's activity as its mean
        on = rng.random((n, n_positions, n_programs)) < 0.15
        codes = on * rng.gamma(3.0, 1 / 3, on.shape) * programs[:, None] / 0.15
        tokens = codes @ dictionary + scale * np.sqrt(n_positions) * rng.normal(size=(n, n_positions, n_dims))
        embedding = tokens.mean(1)
    adata = ad.AnnData(embedding.astype(np.float32))
    adata.var_names = [f"image_{i}" for i in range(n_dims)]
    adata.obsm["X_image"] = adata.X.copy()
    if tokens is not None:
        adata.obsm["tokens"] = tokens.astype(np.float32)
    return adata


def _rna_side(
    shared: FloatArray, private: FloatArray, n_genes: int, rho: float, *, mirror: bool, rng: np.random.Generator
) -> AnnData:
    n, n_programs = shared.shape
    half = n_programs // 2
    high = min(_MODULE_SIZE[1], n_genes // n_programs)
    size = rng.integers(_MODULE_SIZE[0], high + 1, n_programs)
    loading = rng.gamma(4.0, 0.25, (n_programs, high))
    private_of = rng.permutation(n_programs)
    if mirror:
        size[half:], loading[half:] = size[:half], loading[:half]
        private_of = np.arange(n_programs)
    program = np.repeat(np.arange(n_programs), size)
    strength = np.concatenate([loading[k, : size[k]] for k in range(n_programs)])
    baseline = rng.normal(-1.0, 0.7, n_genes)
    if mirror:
        first = int(size[:half].sum())
        baseline[first : 2 * first] = baseline[:first]
    # variances add up: a share rho of the variation is shared
    activity: FloatArray = np.sqrt(rho) * shared + np.sqrt(1 - rho) * private[:, private_of]
    # rates are linear in the activities: their logarithms saturate as measured ones do
    rate = np.tile(np.exp(baseline), (n, 1))
    rate[:, : len(program)] *= 0.1 + 3 * activity[:, program] * strength
    depth = rng.lognormal(np.log(4.0 * n_genes), 0.3, (n, 1))
    mean = rate / rate.sum(1, keepdims=True) * depth
    counts = rng.poisson(mean * rng.gamma(1 / _DISPERSION, _DISPERSION, mean.shape))

    adata = ad.AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    adata.var_names = [f"gene_{i}" for i in range(n_genes)]
    names = np.full(n_genes, "none", dtype=object)
    names[: len(program)] = [f"program_{k}" for k in program]
    adata.var["program"] = pd.Categorical(names)
    adata.layers["counts"] = adata.X.copy()
    total = np.maximum(np.asarray(adata.X.sum(1)), 1)
    adata.X = sparse.csr_matrix(np.log1p(adata.X.toarray() * (1e4 / total)))
    adata.obsm["X_pca"], adata.varm["PCs"] = _pca(adata.X.toarray(), min(20, n - 1))
    return adata


def _pca(x: FloatArray, n_components: int) -> tuple[FloatArray, FloatArray]:
    """Scores and loadings, the largest loading of each component positive."""
    centred = x - x.mean(0)
    left, size, right = np.linalg.svd(centred, full_matrices=False)
    left, size, right = left[:, :n_components], size[:n_components], right[:n_components]
    sign = np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])
    return (left * size * sign).astype(np.float32), (right.T * sign).astype(np.float32)
