from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from saescape._docs import doc_params
from saescape._keys import sae_keys, superposition_keys
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._rep import get_representation
from saescape._validate import check_adata, check_copy, check_finite, check_integer, require_key
from saescape._warnings import SignificanceWarning

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._keys import SaeKeys
    from saescape._rep import Representation
    from saescape._rows import RowSource
    from saescape._typing import FloatArray, IntArray, Rng
    from saescape.superposition._score import SuperpositionResult

# cells that distances, neighbours and the spectrum are computed on
_SAMPLE = 3_000
_FEW_CELLS = 100
_BAD_FVU = 0.5
_ALPHA = 0.05


@doc_params
def superposition_score(
    adata: AnnData,
    *,
    key: str | None = None,
    use_rep: str | None = None,
    n_pairs: int = 100_000,
    n_perms: int = 100,
    batch_key: str | None = None,
    rng: Rng = 0,
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
    batch_key
        Column of `.obs` with the unit of independence (plate, donor, well): activations are permuted within it only.
    {rng}
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
        `features`, a table with `norm`, `dimensionality`, `interference`, `max_cosine`, `nearest`, `frac_active` and
        `duplicate` of each feature; `params`.

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
        and when the score does not exceed its null.

    Notes
    -----
    *The size of the score is the finding.* It says how much overlap there is where features meet; the p-values only say
    whether that overlap is where it is by chance. Every null is stored in `null` with `mean`, `sd` and `z`:

    `usage`
        `pvalue` and `z` of the top level. Each feature's activations are permuted over cells (within `batch_key`),
        which keeps usage, dictionary and what the batches explain, and destroys co-activation; crowding is held at the
        observed value, because a fixed number of active features, or cells that differ in total activity, change
        crowding without any relation to geometry. A small p means: features that overlap meet in the same cells more
        often than their usage implies, for this dictionary. It does **not** mean that superposition is strong (with
        many cells a trace is significant), nor that it generalises to other dictionaries (cells are the unit, and any
        co-activation, as of cell types or of cells that are very unequal in size, can fall on overlapping pairs by
        chance: judge by `assignment` then). A large p does **not** mean that there is no superposition: independent
        features in a random dictionary have a high score and a uniform p.
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

    With many cells the permutations use a random subset of them (`params["n_null_cells"]`).

    `distortion` compares squared distances of sampled cells in codes, :math:`\lVert \Delta y \rVert^2`, with those of
    what they decode to, :math:`\lVert \Delta zW \rVert^2`: `share` is :math:`E|d_{rep} - c\, d_{code}| / E[c\,
    d_{code}]` with :math:`c = E\,d_{rep} / E\,d_{code}` (`scale`), `spearman` their rank correlation, `knn_overlap` the
    shared nearest neighbours; `spearman_rep` and `knn_overlap_rep` compare codes with the actual representation, and
    `knn_overlap_chance` is the overlap of unrelated spaces.

    A badly fitted dictionary hides interference: read the score beside the `fvu` of the fit and its stability over
    seeds.

    References
    ----------
    Dimensionality: Elhage et al. (2022), *Toy models of superposition*; equal to the capacity of Scherlis et al.
    (2022). Bound on the largest cosine: Welch (1974). Effective features: Bereska et al. (2025).

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", max_epochs=20, show_progress_bar=False)
    >>> sae.tl.superposition_score(adata, n_pairs=1000, n_perms=20)
    >>> result = adata.uns["superposition_score"]
    >>> bool(result["score"] > 0), len(result["features"])
    (True, 64)
    >>> sorted(result["null"])
    ['assignment', 'orthonormal', 'random_dictionary', 'usage']
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    n_pairs, n_perms = check_integer("n_pairs", n_pairs), check_integer("n_perms", n_perms)
    slots, names = sae_keys(key), superposition_keys(key_added)
    codes, decoder = _fitted(adata, slots)
    if names.uns == slots.uns:
        msg = f"`key_added={key_added!r}` would overwrite the fitted sparse autoencoder; choose another name."
        raise ValueError(msg)
    block_of = _blocks(adata, batch_key)
    fit = adata.uns[slots.uns]
    representation = _representation(adata, fit, use_rep)
    representation.rows.moments()

    adata = adata.copy() if copy else adata
    start = logg.info("computing superposition score")
    from saescape.superposition._score import superposition

    seed = rng_param(rng)
    sample_rng, score_rng = as_generator(rng).spawn(2)
    sample = np.arange(adata.n_obs)
    if adata.n_obs > _SAMPLE:
        sample = np.sort(sample_rng.choice(adata.n_obs, _SAMPLE, replace=False))
    metrics = dict(fit.get("metrics", {}))
    l0, fvu = (float(metrics.get(name, np.nan)) for name in ("l0", "fvu"))
    result = superposition(
        codes,
        decoder,
        _pooled(representation.rows, sample),
        sample,
        block_of=block_of,
        l0=l0 if np.isfinite(l0) else None,
        n_pairs=n_pairs,
        n_perms=n_perms,
        rng=score_rng,
    )
    _warn(result, fvu, adata.n_obs)

    adata.obs[names.obs] = result.per_cell
    adata.uns[names.uns] = {
        "score": result.score,
        "pvalue": result.usage.pvalue,
        "z": result.usage.z,
        "null": result.null,
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
            "batch_key": batch_key,
            "rng": seed,
            "n_null_cells": result.n_null_cells,
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


def _fitted(adata: AnnData, slots: SaeKeys) -> tuple[sparse.csr_matrix, FloatArray]:
    """Codes and decoder of the fit, checked."""
    fit = require_key(adata, "uns", slots.uns, argument=None if slots.uns == "sae" else "key")
    where = f"`adata.uns[{slots.uns!r}]['weights']['W_dec']`"
    if not hasattr(fit, "keys") or "W_dec" not in dict(fit.get("weights", {})):
        msg = f"{where} not found; run `sae.tl.sae_fit(adata)` first to create it."
        raise KeyError(msg)
    stored = require_key(adata, "obsm", slots.obsm, argument=None if slots.obsm == "X_sae" else "key")
    stored = stored.to_numpy() if hasattr(stored, "to_numpy") else stored
    codes, decoder = sparse.csr_matrix(stored), np.asarray(fit["weights"]["W_dec"])
    if adata.n_obs < 2:
        msg = f"At least 2 observations are needed to compare cells, found {adata.n_obs}."
        raise ValueError(msg)
    if decoder.ndim != 2 or codes.shape[1] != decoder.shape[0]:
        msg = (
            f"`adata.obsm[{slots.obsm!r}]` has {codes.shape[1]} features, but {where} has shape {decoder.shape} "
            "(features x dimensions); they must come from the same fit."
        )
        raise ValueError(msg)
    check_finite(codes.data, f"`adata.obsm[{slots.obsm!r}]`")
    check_finite(decoder, where)
    if codes.nnz and codes.data.min() < 0:
        msg = f"`adata.obsm[{slots.obsm!r}]` has {int(np.sum(codes.data < 0))} negative values; codes are non-negative."
        raise ValueError(msg)
    used = np.asarray(codes.sum(0)).ravel() * np.linalg.norm(decoder, axis=1)
    if not used.any():
        msg = (
            f"`adata.obsm[{slots.obsm!r}]` has no active feature: every code, or every row of the decoder in use, is 0."
        )
        raise ValueError(msg)
    return codes, decoder


def _blocks(adata: AnnData, batch_key: str | None) -> IntArray:
    if batch_key is None:
        return np.zeros(adata.n_obs, dtype=np.int64)
    values = require_key(adata, "obs", batch_key, argument="batch_key")
    if values.isna().any():
        msg = f"`batch_key={batch_key!r}` is missing for {int(values.isna().sum())} observations."
        raise ValueError(msg)
    blocks = pd.factorize(values)[0].astype(np.int64)
    if np.bincount(blocks).max() < 2:
        msg = f"`batch_key={batch_key!r}` has a single observation in every batch; nothing can be permuted."
        raise ValueError(msg)
    return blocks


def _representation(adata: AnnData, fit: Any, use_rep: str | None) -> Representation:
    """The representation asked for, or what the autoencoder was fitted on."""
    if use_rep is not None:
        return get_representation(adata, use_rep)
    params = dict(fit.get("params", {}))
    fitted_rep, layer = params.get("use_rep"), params.get("layer")
    mask = None
    if fitted_rep is None and "input_names" in fit and len(fit["input_names"]) < adata.n_vars:
        mask = np.isin(np.asarray(adata.var_names, dtype=str), np.asarray(fit["input_names"], dtype=str))
    return get_representation(adata, fitted_rep, layer, mask_var=mask)


def _pooled(rows: RowSource, sample: IntArray) -> FloatArray:
    """Rows of the sampled cells, mean over positions, float64."""
    size = rows.block_size()
    parts = []
    for low in range(0, len(sample), size):
        block = rows.take(sample[low : low + size]).astype(np.float64)
        parts.append(block.mean(1) if block.ndim == 3 else block)
    return np.concatenate(parts)


def _warn(result: SuperpositionResult, fvu: float, n_obs: int) -> None:
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
    if result.usage.pvalue > _ALPHA:
        messages.append(
            f"The score ({result.score:.3g}) is not larger than the usage of the features implies "
            f"({result.usage.mean:.3g}, p = {result.usage.pvalue:.2g} with `n_perms={len(result.usage.values)}`): "
            "overlap is not concentrated on features that fire together. "
            "This does not mean that there is no superposition."
        )
    for message in messages:
        warnings.warn(message, SignificanceWarning, stacklevel=3)
