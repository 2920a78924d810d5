from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._keys import TOKENS
from saescape._random import as_generator, rng_param
from saescape._validate import check_integer, check_real
from saescape.simulation._design import check_design, latent_design, phenotype
from saescape.simulation._dictionary import unit_dictionary
from saescape.simulation._firing import check_firing, check_share, firing, present

if TYPE_CHECKING:
    from saescape._typing import Rng

_BLOCK_ENTRIES = 2**22
_LAYOUT = ("n_conditions", "n_lines", "n_plates", "n_wells")


@doc_params
def superposition(
    n_obs: int = 500,
    *,
    n_positions: int = 64,
    n_dims: int = 32,
    n_concepts: int = 64,
    density: float = 0.03,
    noise: float = 0.02,
    coherence: float = 0.0,
    correlation: float = 0.0,
    hierarchy: float = 0.0,
    zipf: float = 0.0,
    n_conditions: int | None = None,
    n_lines: int | None = None,
    n_plates: int | None = None,
    n_wells: int | None = None,
    phenotype_zeros: float | None = None,
    plate_offset: float | None = None,
    rng: Rng = 0,
) -> ad.AnnData:
    r"""Simulate cells whose positions hold sparse concepts in superposition, with the truth.

    A position (token) of cell `c` is :math:`x = \sum_k s_k W_k + \varepsilon`. Concept `k` is present with probability
    :math:`r_{ck}`, and then :math:`s_k` is Gamma(3) with mean 1. The rates differ between cells: the density of the
    concept times a Gamma(1/2) variable with mean 1, at most 1. The pooled representation
    :math:`h = \bar s W + \bar\varepsilon` distorts distances between cells unless the concepts are orthogonal. With
    `n_positions` 1 a cell is a single draw, and its representation the token.

    Any of `n_conditions`, `n_lines`, `n_plates`, `n_wells`, `phenotype_zeros` and `plate_offset` asks for an
    experimental design, with the defaults for the others. Lines (donors) are nested in conditions, wells hold one line
    and are nested in plates, and each plate holds all conditions. Each cell has a time in [0, 1], Beta with a mean that
    rises from .35 in the first condition to .65 in the last. Of the concepts 20 % depend on time (half rise, half
    fall), 10 % on the condition, 10 % on the plate, and the others are private. Rates also vary log-normally between
    lines (SD .2) and wells (SD .1).

    Parameters
    ----------
    n_obs
        Cells.
    n_positions
        Positions (tokens) of a cell.
    n_dims
        Dimensions `d` of the representation.
    n_concepts
        Concepts `m`. Up to `n_dims` of them can be orthogonal; with more they are in superposition.
    density
        Mean probability that a concept is present at a position.
    noise
        Standard deviation of Gaussian noise on each dimension of a position.
    coherence
        Cosine (approximately) of concepts that belong to one cluster of four, in [0, 1). With 0, directions are
        orthonormal when ``n_concepts <= n_dims`` and independent and uniform otherwise.
    correlation
        Correlated firing within a position, in (-1/3, 1): the correlation of the Gaussian variables whose thresholds
        decide presence (a Gaussian copula), within blocks of up to four concepts. Negative: concepts of a block avoid
        each other. How often each concept is present stays the same. Blocks and clusters of `coherence` have nothing
        to do with each other.
    hierarchy
        Share of concepts that are children, in [0, 1). A child is present only where its parent is, and there with
        probability 1/2. Parents are drawn from the concepts that are not children. Children take the role of their
        parent in the design and belong to no block.
    zipf
        Exponent of the usage: the density of a concept that is no child goes with its rank to the power ``-zipf``. The
        mean over all concepts stays `density`, and no concept exceeds 1/4 (`density` permitting).
    n_conditions
        Conditions. 2 in a design.
    n_lines
        Lines (donors) of each condition. 2 in a design.
    n_plates
        Plates. 2 in a design.
    n_wells
        Wells of each plate, at least `n_conditions`. 4 in a design.
    phenotype_zeros
        Share of cells whose phenotype is exactly 0, drawn at random. 0 in a design. The others' phenotype is Beta with
        concentration 10 and a mean whose logit is 1.5 times the standardised difference between the (standardised) true
        activations of concepts that rise and of those that fall with time.
    plate_offset
        Standard deviation, over plates, of a constant that a plate adds to each dimension of its tokens. 0 in a design.
    {rng}

    Returns
    -------
    AnnData with

    `.X` : :class:`numpy.ndarray` (dtype `float32`)
        Pooled representation `(n_obs, n_dims)`.
    `.obsm['tokens']` : :class:`numpy.ndarray` (dtype `float32`)
        Positions `(n_obs, n_positions, n_dims)`.
    `.obsm['concepts']` : :class:`numpy.ndarray` (dtype `float32`)
        True mean activation of each concept `(n_obs, n_concepts)`.
    `.obs['condition']`, `.obs['line']`, `.obs['plate']`, `.obs['well']` : :class:`pandas.Series` (dtype `category`)
        With a design: where the cell was measured.
    `.obs['time']`, `.obs['phenotype']` : :class:`pandas.Series` (dtype `float64`)
        With a design: time and phenotype, both in [0, 1].
    `.uns['truth']` : :class:`dict`
        `dictionary` `(n_concepts, n_dims)`, `cluster` of each concept, `l0` (mean concepts per position), `params`, and
        `concepts`, a :class:`pandas.DataFrame` with a row per concept: mean `density` over cells, `block` (-1 for none)
        and `parent` (its row, -1 for none); with a design also `role` (`"time_up"`, `"time_down"`, `"condition"`,
        `"plate"` or `"private"`) and `effect` (the rate goes from ``1 - effect`` to ``1 + effect`` times its mean over
        time, conditions or plates; negative for `"time_down"`). With a design also `plate_offset`
        `(n_plates, n_dims)`, in the order of the numbers in the names of the plates.

    Raises
    ------
    ValueError
        For sizes below 1, numbers out of range, a mean `density` that children cannot reach, and a design whose wells
        cannot hold all lines or whose plates cannot hold all conditions.

    Examples
    --------
    >>> import saescape as sae
    >>> adata = sae.datasets.superposition(100, n_positions=16, n_dims=16, n_concepts=32)
    >>> adata.obsm["tokens"].shape, adata.obsm["concepts"].shape
    ((100, 16, 16), (100, 32))

    Half of the concepts inside others, two plates, and a phenotype that is 0 in 80 % of the cells:

    >>> adata = sae.datasets.superposition(100, n_positions=16, hierarchy=0.5, n_plates=2, phenotype_zeros=0.8)
    >>> list(adata.obs.columns)
    ['condition', 'line', 'plate', 'well', 'time', 'phenotype']
    >>> int((adata.uns["truth"]["concepts"]["parent"] >= 0).sum())
    32
    """
    sizes = {"n_obs": n_obs, "n_positions": n_positions, "n_dims": n_dims, "n_concepts": n_concepts}
    for name, value in sizes.items():
        check_integer(name, value)
    check_real("density", density, 0.0, 1.0)
    check_real("noise", noise, open_low=False)
    check_share("coherence", coherence)
    check_firing(density, correlation=correlation, hierarchy=hierarchy, zipf=zipf)
    design_params = _design_params(
        n_conditions=n_conditions,
        n_lines=n_lines,
        n_plates=n_plates,
        n_wells=n_wells,
        phenotype_zeros=phenotype_zeros,
        plate_offset=plate_offset,
    )
    seed = rng_param(rng)
    generator = as_generator(rng)
    # what was added later draws from streams of its own, so that the other results stay as they were
    firing_rng, design_rng, phenotype_rng, offset_rng = generator.spawn(4)
    how = firing(n_concepts, density, correlation=correlation, hierarchy=hierarchy, zipf=zipf, rng=firing_rng)
    dictionary, cluster = unit_dictionary(n_concepts, n_dims, coherence, generator)
    table = pd.DataFrame(
        {"density": how.density, "block": how.block, "parent": how.parent},
        index=[f"concept_{k}" for k in range(n_concepts)],
    )
    if design_params:
        layout = {name: design_params[name] for name in _LAYOUT}
        design = latent_design(n_obs, n_concepts, **layout, heterogeneity=np.inf, rng=design_rng)
        # a child has the rate, and so the role, of its parent
        follows = np.where(how.parent >= 0, how.parent, np.arange(n_concepts))
        table = table.assign(**{name: design.concepts[name].to_numpy()[follows] for name in ("role", "effect")})
        offset = design_params["plate_offset"] * offset_rng.standard_normal((design_params["n_plates"], n_dims))
        plate = design.plate

    tokens = np.empty((n_obs, n_positions, n_dims), dtype=np.float32)
    concepts = np.empty((n_obs, n_concepts), dtype=np.float32)
    n_present = 0
    size = max(1, _BLOCK_ENTRIES // (n_positions * n_concepts))
    for start in range(0, n_obs, size):
        stop = min(start + size, n_obs)
        rates = how.density * generator.gamma(0.5, 2.0, (stop - start, 1, n_concepts))
        if design_params:
            rates *= design.factor[start:stop, None]
        shape = (stop - start, n_positions, n_concepts)
        on = present(generator.random(shape), np.minimum(rates, 1.0), how)
        strength = np.zeros(shape)
        strength[on] = generator.gamma(3.0, 1 / 3, int(on.sum()))
        block = strength @ dictionary + noise * generator.standard_normal((*shape[:2], n_dims))
        if design_params:
            block += offset[plate[start:stop], None]
        tokens[start:stop] = block
        concepts[start:stop] = strength.mean(1)
        n_present += int(on.sum())

    adata = ad.AnnData(
        tokens.mean(1, dtype=np.float64).astype(np.float32),
        obs=pd.DataFrame(index=[f"cell_{i}" for i in range(n_obs)]),
        var=pd.DataFrame(index=[f"dim_{i}" for i in range(n_dims)]),
    )
    adata.obsm[TOKENS] = tokens
    adata.obsm["concepts"] = concepts
    adata.uns["truth"] = {
        "dictionary": dictionary.astype(np.float32),
        "cluster": cluster,
        "concepts": table,
        "l0": n_present / (n_obs * n_positions),
        "params": {
            **{name: int(value) for name, value in sizes.items()},
            "density": float(density),
            "noise": float(noise),
            "coherence": float(coherence),
            "correlation": float(correlation),
            "hierarchy": float(hierarchy),
            "zipf": float(zipf),
            **design_params,
            "rng": seed,
            "version": version("saescape"),
        },
    }
    if design_params:
        adata.obs = design.obs.set_index(adata.obs_names)
        adata.obs["phenotype"] = phenotype(
            concepts, table["role"], zeros=design_params["phenotype_zeros"], rng=phenotype_rng
        )
        adata.uns["truth"]["plate_offset"] = offset.astype(np.float32)
    return adata


def _design_params(**given: float | None) -> dict[str, Any]:
    """The parameters of the design with their defaults, checked; nothing if none is given."""
    if all(value is None for value in given.values()):
        return {}
    defaults = {
        "n_conditions": 2,
        "n_lines": 2,
        "n_plates": 2,
        "n_wells": 4,
        "phenotype_zeros": 0.0,
        "plate_offset": 0.0,
    }
    params: dict[str, Any] = {name: defaults[name] if value is None else value for name, value in given.items()}
    check_design(*(params[name] for name in _LAYOUT))
    params |= {name: int(params[name]) for name in _LAYOUT}
    params["phenotype_zeros"] = check_real("phenotype_zeros", params["phenotype_zeros"], 0.0, 1.0, open_low=False)
    params["plate_offset"] = check_real("plate_offset", params["plate_offset"], open_low=False)
    return params
