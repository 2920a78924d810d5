from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from saescape._docs import doc_params
from saescape._random import as_generator, rng_param
from saescape._validate import check_integer, check_real
from saescape.simulation._program_ceilings import SHIFT_SD, linear_ceilings

if TYPE_CHECKING:
    from saescape._typing import FloatArray, Rng

_BLOCK_ENTRIES = 2**22
#: from this share of lost values on, expression is stored sparse
_SPARSE_FROM = 0.5


@doc_params
def programs(
    n_obs: int = 1_000,
    *,
    n_programs: int = 100,
    n_genes: int = 2_000,
    n_types: int = 40,
    n_covariates: int = 3,
    gene_density: float = 0.1,
    type_density: float = 0.3,
    shift: float = 1.0,
    dispersion: float | None = None,
    n_donors: int = 1,
    donor_sd: float = 0.2,
    dropout: float = 0.0,
    rng: Rng = 0,
) -> ad.AnnData:
    r"""Simulate expression from gene programs that cell types switch off, with the truth and its ceilings.

    The large simulation of :cite:t:`Schuster2025`. Program `i` of a cell has the base activity
    :math:`X_i \sim \mathrm{Poisson}(1 + 0.1 i)`. A covariate `c` (0, 1, ...) shifts all programs of the cell by one
    number, :math:`X'_i = X_i + s` with `s` normal around `shift` times `c` (SD 0.1). Each cell type `t` has its own
    fixed set of programs and switches the others off, :math:`X''_i = X'_i C_{ti}`, and expression is the sum of what is
    left, :math:`Y = X'' M`.

    Parameters
    ----------
    n_obs
        Cells.
    n_programs
        Programs.
    n_genes
        Genes (20,000 in the source). With fewer genes than programs even :math:`X''` cannot be read from expression.
    n_types
        Cell types, uniformly frequent.
    n_covariates
        Values of the covariate, uniformly frequent. With 1 there is no shift at all, as in the source.
    gene_density
        Probability that a gene belongs to a program (entries of `M`).
    type_density
        Probability that a program is on in a cell type (entries of `C`).
    shift
        Mean shift from one value of the covariate to the next.
    dispersion
        Draw negative binomial counts with this dispersion (variance ``mean + dispersion * mean^2``; 0 is Poisson). None
        adds no noise, as in the source.
    n_donors
        Donors, uniformly frequent. With more than one, each donor multiplies each gene by a log-normal factor.
    donor_sd
        Standard deviation of the logarithm of that factor.
    dropout
        Probability that a value is lost (set to 0), whatever its size.
    {rng}

    Returns
    -------
    AnnData with

    `.X` : :class:`numpy.ndarray` or :class:`scipy.sparse.csr_matrix` (dtype `float32`)
        Expression `(n_obs, n_genes)`; without donors, counts and dropout exactly
        ``adata.obsm["programs"] @ adata.varm["programs"].T``. Sparse when `dropout` is at least 0.5.
    `.obs['cell_type']`, `.obs['covariate']`, `.obs['donor']` : :class:`pandas.Series` (dtype `category`)
        Truth of each cell; the donor only with more than one.
    `.obsm['programs_base']`, `.obsm['programs_shifted']` : :class:`numpy.ndarray` (dtype `float32`)
        :math:`X` and :math:`X'`, `(n_obs, n_programs)`. A shift can leave values slightly below 0.
    `.obsm['programs']` : :class:`numpy.ndarray` (dtype `float32`)
        :math:`X''`, the active programs that make the expression.
    `.varm['programs']` : :class:`numpy.ndarray` (dtype `bool`)
        Mask `(n_genes, n_programs)`: which gene belongs to which program.
    `.uns['truth']` : :class:`dict`
        `type_mask` `(n_types, n_programs)`, `ceilings` and `params`.

    Raises
    ------
    ValueError
        For sizes below 1 and for densities, `dispersion`, `donor_sd`, `shift` or `dropout` out of range.

    Notes
    -----
    `ceilings` are the coefficients of determination that a linear map of noise-free expression can reach, averaged over
    the variables of a group: `programs` (1 with at least as many genes as programs), `programs_shifted`,
    `programs_base`, `cell_type` (indicators) and `covariate` (the number). They follow in closed form from the second
    moments of the model, so they hold for any number of cells; held-out values from few cells, and from noisy
    expression, are lower. With the default sizes they are about 1, .27, .18, .89 and .75: what a type switches off is
    lost, so **X and X' are not identifiable** from expression, and a score for them means nothing without its ceiling.
    Cell types are linear only in part, but the programs that are zero give them away. NaN: the variable does not vary.

    For low complexity in the sense of the source use ``n_types=10, n_covariates=1, type_density=0.7``.

    On published scores: X'' is a linear function of Y, so a representation with as many dimensions as programs holds no
    superposition, only a rotation. The published autoencoders reach a correlation of .69 with the best program from
    3,000 units on 150 dimensions. As many random ReLU units that were never trained, on 100 principal components, reach
    .71 to .77 in six simulations (7,500 cells, 800 genes), and .55 on average over programs. Compare with such units,
    and report the mean over programs, not the best one.

    Examples
    --------
    >>> import saescape as sae
    >>> adata = sae.datasets.programs(200, n_genes=300)
    >>> adata.shape, adata.obsm["programs"].shape
    ((200, 300), (200, 100))
    >>> round(adata.uns["truth"]["ceilings"]["programs"], 6)
    1.0
    """
    sizes = {
        "n_obs": n_obs,
        "n_programs": n_programs,
        "n_genes": n_genes,
        "n_types": n_types,
        "n_covariates": n_covariates,
        "n_donors": n_donors,
    }
    sizes = {name: check_integer(name, value) for name, value in sizes.items()}
    knobs = {
        "gene_density": check_real("gene_density", gene_density, 0.0, 1.0),
        "type_density": check_real("type_density", type_density, 0.0, 1.0),
        "shift": check_real("shift", shift, open_low=False),
        "donor_sd": check_real("donor_sd", donor_sd, open_low=False),
        "dropout": check_real("dropout", dropout, 0.0, 1.0, open_low=False),
    }
    if dropout == 1:
        msg = "`dropout` must be at least 0 and less than 1, found 1: nothing would be left."
        raise ValueError(msg)
    if dispersion is not None:
        dispersion = check_real("dispersion", dispersion, open_low=False)
    seed = rng_param(rng)
    generator = as_generator(rng)

    gene_mask = generator.random((n_programs, n_genes)) < gene_density
    type_mask = generator.random((n_types, n_programs)) < type_density
    rates = 1.0 + 0.1 * np.arange(n_programs)
    cell_type, covariate, donor = (generator.integers(n, size=n_obs) for n in (n_types, n_covariates, n_donors))
    base = generator.poisson(rates, (n_obs, n_programs)).astype(np.float32)
    shifted = base
    if n_covariates > 1:
        shifted = base + generator.normal(covariate * shift, SHIFT_SD).astype(np.float32)[:, None]
    active = shifted * type_mask[cell_type]
    factor = np.exp(donor_sd * generator.standard_normal((n_donors, n_genes))) if n_donors > 1 else None

    expression = np.empty((n_obs, n_genes), dtype=np.float32)
    weights = gene_mask.astype(np.float64)
    size = max(1, _BLOCK_ENTRIES // n_genes)
    for start in range(0, n_obs, size):
        rows = slice(start, start + size)
        signal = active[rows].astype(np.float64) @ weights
        if factor is not None:
            signal *= factor[donor[rows]]
        expression[rows] = _measured(signal, dispersion, dropout, generator)

    adata = ad.AnnData(
        sparse.csr_matrix(expression) if dropout >= _SPARSE_FROM else expression,
        obs=pd.DataFrame(index=[f"cell_{i}" for i in range(n_obs)]),
        var=pd.DataFrame(index=[f"gene_{i}" for i in range(n_genes)]),
    )
    adata.obs["cell_type"] = pd.Categorical.from_codes(cell_type, [f"type_{i}" for i in range(n_types)])
    adata.obs["covariate"] = pd.Categorical.from_codes(covariate, [str(i) for i in range(n_covariates)])
    if n_donors > 1:
        adata.obs["donor"] = pd.Categorical.from_codes(donor, [f"donor_{i}" for i in range(n_donors)])
    adata.obsm["programs_base"], adata.obsm["programs_shifted"] = base, shifted.copy()
    adata.obsm["programs"] = active
    adata.varm["programs"] = gene_mask.T.copy()
    adata.uns["truth"] = {
        "type_mask": type_mask,
        "ceilings": linear_ceilings(gene_mask, type_mask, rates, n_covariates, shift),
        "params": {
            **sizes,
            **knobs,
            "dispersion": dispersion,
            "rng": seed,
            "version": version("saescape"),
        },
    }
    return adata


def _measured(signal: FloatArray, dispersion: float | None, dropout: float, rng: np.random.Generator) -> FloatArray:
    """Counts with the signal as their mean, when asked for, and values lost at random."""
    if dispersion is not None:
        mean = np.maximum(signal, 0)
        if dispersion > 0:
            mean = mean * rng.gamma(1 / dispersion, dispersion, mean.shape)
        signal = rng.poisson(mean).astype(np.float64)
    if dropout > 0:
        signal = signal * (rng.random(signal.shape) >= dropout)
    return signal
