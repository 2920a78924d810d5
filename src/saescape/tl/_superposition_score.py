from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from saescape._docs import doc_params
from saescape._keys import sae_keys, superposition_keys
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._rep import fitted_representation, get_representation
from saescape._validate import check_adata, check_copy, check_integer
from saescape._warnings import SignificanceWarning

from ._superposition_inputs import block_numbers, fitted_codes, pooled_rows
from ._superposition_recoding import OTHER_CODES, fetch_recoding
from ._superposition_refits import refit_gaussian

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._typing import Rng
    from saescape.superposition._gaussian import GaussianNull
    from saescape.superposition._score import SuperpositionResult

# cells that distances, neighbours and the spectrum are computed on
_SAMPLE = 3_000
_FEW_CELLS = 100
_BAD_FVU = 0.5
_ALPHA = 0.05
# share of the error on Gaussian data that has to be gone
_LEAST_GAIN = 0.1


@doc_params
def superposition_score(
    adata: AnnData,
    *,
    key: str | None = None,
    use_rep: str | None = None,
    n_pairs: int = 100_000,
    n_perms: int = 100,
    n_refits: int = 2,
    batch_key: str | None = None,
    rng: Rng = 0,
    device: str | None = None,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Measure how much sparse features that fire together share directions of the representation.

    With codes :math:`z`, decoder rows :math:`W_i` and :math:`y_i = z_i \lVert W_i \rVert`, the score is the
    interference weighted by co-activation,

    .. math::
        I = \frac{\sum_{i \ne j} E[y_i y_j] \cos^2(W_i, W_j)}{\sum_i E[y_i^2]}
          = \underbrace{\frac{\sum_{i \ne j} E[y_i y_j]}{\sum_i E[y_i^2]}}_{\text{crowding}} \cdot
            \underbrace{\frac{\sum_{i \ne j} E[y_i y_j] \cos^2(W_i, W_j)}{\sum_{i \ne j} E[y_i y_j]}}_{\text{overlap}}

    with means over cells. It is 0 when features that meet in a cell are orthogonal, as with an orthonormal
    dictionary, and about ``crowding / n_dims`` for a random dictionary. It does not change when the representation is
    rotated, when features are reordered, or when a feature's codes are multiplied and its row divided by a number.

    Parameters
    ----------
    {adata}
    {key}
    use_rep
        Representation that distances and neighbours of the codes are compared with, in `.obsm`; positions are pooled.
        None takes the one that the autoencoder was fitted on.
    n_pairs
        Pairs of cells whose distances are compared (all pairs when there are fewer).
    n_perms
        Permutations of each null.
    n_refits
        How often the autoencoder is refitted, to the data and to Gaussian data (see `gaussian` below); 0 for never.
    batch_key
        Column of `.obs` with the unit of independence (plate, donor, well): activations are permuted within it only.
    {rng}
    {device}
    {key_added}
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields:

    `adata.obs['superposition_score' | key_added]` : :class:`pandas.Series` (dtype `float`)
        Signed interference of each cell, :math:`\lVert zW \rVert^2 / \sum_i y_i^2 - 1`: positive where features
        reinforce each other, negative where they cancel; 0 for cells without active features.
    `adata.uns['superposition_score' | key_added]` : :class:`dict`
        `score`, `pvalue`, `z` and `null`; `score_without_duplicates`, with features of the same direction (cosine above
        .999) added up; `measures`, a table of global measures with their reference values; `distortion`;
        `features`, a table with `norm`, `energy` (the mean of :math:`y_i^2`), `dimensionality`, `interference`,
        `max_cosine`, `nearest`, `frac_active` and `duplicate` of each feature; `params`.

    Raises
    ------
    KeyError
        If there is no fitted autoencoder, or `use_rep` or `batch_key` is missing.
    ValueError
        If there is a single cell, no active feature, a negative or non-finite value, or codes and decoder disagree.

    Warns
    -----
    SignificanceWarning
        When the autoencoder fits badly (held-out `fvu` above .5) or its fit is not known, with fewer than 100 cells,
        when the stored codes are not those of the stored model, when sparse features describe the rows hardly better
        than Gaussian ones (`sparse_gain` below .1), and when the score does not exceed its null.

    Notes
    -----
    *The size of the score is the finding.* It says how much overlap there is where features meet; the p-values only say
    whether that overlap is where it is by chance. Every null is stored in `null` with `mean`, `sd` and `z`:

    `usage`
        Each feature's activations are permuted over cells (within `batch_key`), which keeps usage, dictionary and what
        the batches explain, and destroys co-activation; crowding is held at the observed value, because a fixed number
        of active features, or cells that differ in total activity, change crowding without any relation to geometry.
    `reencoded`
        Permuted codes do not know that codes are made with the dictionary: a linear encoder answers with all features
        that overlap, sparse inference explains with one of them. Here features are permuted over cells as above (the
        activations at all positions of a cell together), decoded, given the residuals of other cells, coded again by
        the stored model and rule, pooled and scored, on a sample of cells (`params["n_reencoded_cells"]`, with
        `params["n_reencoded_positions"]` positions) and at most `n_perms` times, so that about 1.5e11 multiplications
        are taken; draws are stored relative to `score`. Needs the encoder and the representation that was coded:
        without them (a decoder alone in `weights`) it is left out, and `params["not_reencoded"]` says why.

    `pvalue` and `z` of the top level are those of the larger p-value of these two (`params["pvalue_null"]`). With
    independent features and trained codes neither is uniform throughout: `usage` alone errs in both directions, and
    `reencoded` is closer in most simulations but too small in some (features nearly orthogonal, dense codes that are
    fitted badly); the larger one was at most .05 in 9 % of 144 simulated sets. A small p means: features that overlap
    meet in the same cells more often than their usage and the way of coding imply, for this dictionary; be careful when
    it is just below .05. It does **not** mean that superposition is strong (with many cells a trace is significant),
    nor that it generalises to other dictionaries
    (cells are the unit, and any co-activation, as of cell types or of cells that are very unequal in size, can fall on
    overlapping pairs by chance: judge by `assignment` then). A large p does **not** mean that there is no
    superposition: independent features in a random dictionary have a high score.

    `assignment`
        Decoder rows are dealt to the features at random (a Mantel test), which keeps co-activation of any kind and the
        set of cosines; features are the unit. A small p means that features which fire together have more similar rows
        than others, be it through usage or co-activation. `batch_key` plays no role, and of more than 4,096 features a
        random choice is used.
    `random_dictionary`
        Exact mean and standard deviation for rows drawn uniformly from the sphere, codes as they are. A score far below
        says that features which meet avoid each other.
    `orthonormal`
        0 by construction.
    `gaussian`
        Where there is nothing to find. The autoencoder is refitted `n_refits` times to the rows it was fitted on and to
        Gaussian ones with the same covariance (of cells and, for tokens, also of positions within cells), coded by the
        encoder, with at most 20,000 rows and 1,024 features, and fewer steps for wide ones (`n_cells`, `n_features`,
        `n_steps`). `values` are the scores on Gaussian rows, `values_refitted` those on the actual ones, `fvu` and
        `fvu_refitted` the held-out errors, and `sparse_gain` is ``1 - mean(fvu_refitted) / mean(fvu)``. Any dictionary
        with more directions than dimensions overlaps, so that the score of Gaussian data is *high*. A gain near 0 says
        that nothing sparse was found, and that the score is no evidence of superposition. A gain well above 0 is
        necessary, not sufficient: clusters and heavy tails are described by few features, too. Left out without the
        encoder or the representation, or with `n_refits=0` (`params["not_refitted"]` says why).

    With many cells the permutations of codes use a random subset of them (`params["n_null_cells"]`).

    `distortion` compares squared distances of sampled cells in codes, :math:`\lVert \Delta y \rVert^2`, with those of
    what they decode to, :math:`\lVert \Delta zW \rVert^2`: `share` is :math:`E|d_{rep} - c\, d_{code}| / E[c\,
    d_{code}]` with :math:`c = E\,d_{rep} / E\,d_{code}` (`scale`), `spearman` their rank correlation, `knn_overlap` the
    shared nearest neighbours; `spearman_rep` and `knn_overlap_rep` compare codes with the actual representation, and
    `knn_overlap_chance` is the overlap of unrelated spaces.

    `measures` has a reference beside each value: a bound, a closed form, or (`babel`, `isometry_defect` and
    `mean_max_cosine`) one random dictionary of the same size, drawn with `rng`. `isometry_defect` is the largest over
    1,000 random supports of L0 features (at most 128), a lower bound of the restricted isometry constant;
    `babel_recovery` below 1 guarantees recovery, above it says nothing: dictionaries far above allow perfect recovery.
    `effective_features` counts usage, not superposition: usage by Zipf's law lowers it whatever the geometry.
    `linear_ceiling` is the R2 that linear maps can reach for that many independent features. Spectra of codes use up
    to 1,000 cells.

    A badly fitted dictionary hides interference: read the score beside the `fvu` of the fit and its stability over
    seeds.

    References
    ----------
    Dimensionality: Elhage et al. (2022), *Toy models of superposition*; equal to the capacity of Scherlis et al.
    (2022). Bound on the largest cosine: Welch (1974). Babel function: Tropp (2004). Effective features: Bereska et al.
    (2025).

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", max_epochs=20, show_progress_bar=False)
    >>> sae.tl.superposition_score(adata, n_pairs=1000, n_perms=20, n_refits=1)
    >>> result = adata.uns["superposition_score"]
    >>> bool(result["score"] > 0), len(result["features"])
    (True, 64)
    >>> sorted(result["null"])
    ['assignment', 'gaussian', 'orthonormal', 'random_dictionary', 'reencoded', 'usage']
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    n_pairs, n_perms = check_integer("n_pairs", n_pairs), check_integer("n_perms", n_perms)
    n_refits = check_integer("n_refits", n_refits, 0)
    slots, names = sae_keys(key), superposition_keys(key_added)
    codes, decoder = fitted_codes(adata, slots)
    if names.uns == slots.uns:
        msg = f"`key_added={key_added!r}` would overwrite the fitted sparse autoencoder; choose another name."
        raise ValueError(msg)
    block_of = block_numbers(adata, batch_key)
    fit = adata.uns[slots.uns]
    representation = fitted_representation(adata, fit) if use_rep is None else get_representation(adata, use_rep)
    representation.rows.moments()

    adata = adata.copy() if copy else adata
    start = logg.info("computing superposition score")
    from saescape.superposition._score import superposition

    seed = rng_param(rng)
    sample_rng, score_rng, recode_rng, refit_rng = as_generator(rng).spawn(4)
    sample = np.arange(adata.n_obs)
    if adata.n_obs > _SAMPLE:
        sample = np.sort(sample_rng.choice(adata.n_obs, _SAMPLE, replace=False))
    recoding, not_reencoded = fetch_recoding(adata, key, fit, codes, n_perms=n_perms, rng=recode_rng)
    metrics = dict(fit.get("metrics", {}))
    l0, fvu = (float(metrics.get(name, np.nan)) for name in ("l0", "fvu"))
    result = superposition(
        codes,
        decoder,
        pooled_rows(representation.rows, sample),
        sample,
        block_of=block_of,
        l0=l0 if np.isfinite(l0) else None,
        n_pairs=n_pairs,
        n_perms=n_perms,
        recoding=recoding,
        rng=score_rng,
    )
    refitted, not_refitted = refit_gaussian(adata, key, n_refits=n_refits, rng=refit_rng, device=device)
    null = dict(result.null) if refitted is None else {**result.null, "gaussian": refitted.as_dict()}
    _warn(result, fvu, adata.n_obs, not_reencoded, refitted)

    adata.obs[names.obs] = result.per_cell
    adata.uns[names.uns] = {
        "score": result.score,
        "pvalue": result.deciding.pvalue,
        "z": result.deciding.z,
        "null": null,
        "score_without_duplicates": result.score_without_duplicates,
        "distortion": result.distortion,
        "measures": result.measures,
        "features": result.features,
        "params": {
            "key": key,
            "use_rep": representation.use_rep,
            "layer": representation.layer,
            "n_pairs": n_pairs,
            "n_perms": n_perms,
            "n_refits": n_refits,
            "batch_key": batch_key,
            "rng": seed,
            "pvalue_null": result.deciding_name,
            "n_null_cells": result.n_null_cells,
            "n_reencoded_cells": 0 if recoding is None else recoding.rows.shape[0],
            "n_reencoded_positions": 0 if recoding is None else recoding.rows.shape[1],
            "not_reencoded": not_reencoded,
            "not_refitted": not_refitted,
            "version": version("saescape"),
        },
    }
    logg.info(
        "    finished",
        time=start,
        deep=f"added\n    `.obs[{names.obs!r}]`, interference of each cell\n"
        f"    `.uns[{names.uns!r}]`, score {result.score:.3g}, nulls, distortion, measures and features",
    )
    return adata if copy else None


def _warn(
    result: SuperpositionResult, fvu: float, n_obs: int, not_reencoded: str, refitted: GaussianNull | None
) -> None:
    messages = []
    if np.isnan(fvu):
        messages.append(
            "The held-out `fvu` of the sparse autoencoder is not known; the score says little if it fits badly."
        )
    elif fvu > _BAD_FVU:
        messages.append(
            f"The sparse autoencoder leaves {fvu:.0%} of the variance unexplained; the score says little about the "
            "representation. Fit with more features, a larger `k` or more epochs."
        )
    if n_obs < _FEW_CELLS:
        messages.append(f"{n_obs} observations are few; co-activation of features is estimated badly.")
    if not_reencoded == OTHER_CODES:
        messages.append(
            "The stored codes are not those that the stored model gives for the representation it was fitted on, so "
            "that permuted features cannot be coded again; the p-value is that of permuted codes, which is not uniform "
            "for independent features. Run `sae.tl.sae_transform` to bring codes and model together."
        )
    if refitted is not None and not refitted.sparse_gain >= _LEAST_GAIN:
        messages.append(
            "Sparse features describe the representation hardly better than Gaussian data of the same covariance "
            f"(held-out FVU of refits {refitted.fvu.mean():.2g} and {refitted.fvu_gaussian.mean():.2g}): the score "
            "says how the dictionary overlaps, not that the representation is in superposition."
        )
    null = result.deciding
    if null.pvalue > _ALPHA:
        messages.append(
            f"The score ({result.score:.3g}) is not larger than that of independent features "
            f"({null.mean:.3g}, p = {null.pvalue:.2g} with {len(null.values)} draws): overlap is "
            "not concentrated on features that fire together. This does not mean that there is no superposition."
        )
    for message in messages:
        warnings.warn(message, SignificanceWarning, stacklevel=3)
