from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._keys import feature_match_key
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._stored_features import stored_features
from saescape._validate import check_adata, check_choice, check_copy, check_integer, check_real
from saescape._warnings import SignificanceWarning

from ._feature_inputs import add_columns

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._typing import Rng
    from saescape.matching._assign import Matches

    from ._feature_match_inputs import Side

On = Literal["decoder", "codes", "genes"]


@doc_params
def feature_match(
    adata: AnnData,
    adata_ref: AnnData,
    *,
    key: str | None = None,
    key_ref: str | None = None,
    on: On = "decoder",
    layer: str | None = None,
    layer_ref: str | None = None,
    n_nulls: int = 50,
    alpha: float = 0.01,
    rng: Rng = 0,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find the features of one sparse autoencoder in another: other seed, other data set, other model.

    Numbers of features mean nothing: feature 7 of two fits are unrelated. Features are matched by what they are, one to
    one (Hungarian method) and mutually best, and each match is compared with dictionaries that have no feature in
    common with `adata` but look like that of `adata_ref`.

    Parameters
    ----------
    {adata}
    adata_ref
        The other fit; it may be the same object with another key.
    {key}
    key_ref
        The same for `adata_ref`.
    on
        `"decoder"`: cosine of directions, for fits in the same input space. `"codes"`: Pearson correlation of codes,
        for fits of any representations of the same cells (shared `obs_names`). `"genes"`: Pearson correlation of
        profiles over shared `var_names`, for different cells: `.varm['sae_decoder']` where both have it and no layer is
        given, else the correlation of each feature with the expression of each gene.
    layer
        Layer of `adata` with the expression for `on="genes"`; None for `.X`.
    layer_ref
        The same for `adata_ref`.
    n_nulls
        Random dictionaries, at least three.
    alpha
        Largest p-value of a stable feature.
    {rng}
    {key_added}
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. `adata_ref` is not changed. Sets the following fields:

    `adata.uns['feature_match' | key_added]['results']` : :class:`pandas.DataFrame`
        One row per feature of `adata`: `feature`; `match` and `similarity`, its partner one to one (empty and NaN
        without one); `best` and `best_similarity`, the most similar feature of `adata_ref`; `mutual` (each is the best
        of the other); `null_mean` (mean over random dictionaries of the best similarity), `zscore`, `pvalue` and
        `qvalue` (Benjamini-Hochberg over features) of `best_similarity`; `stable` (mutual, and p at most `alpha`).
        Features that never fire match nothing.
    `adata.uns['feature_match' | key_added]['score']`, `['null_score']`
        Mean best similarity over features that fire, and the same for each random dictionary `(n_nulls,)`.
    `adata.uns['feature_match' | key_added]['mcc']`, `['share_stable']` : :class:`float`
        Mean similarity of one-to-one partners (0 without one), and share of stable features, of those that fire.
    `adata.uns['feature_match' | key_added]['params']` : :class:`dict`
        Arguments, `null` (the kind of random dictionary with the higher score), `profile` (of genes) and `n_shared`
        (dimensions, cells or genes).
    `adata.uns['sae' | key]['features']`
        Columns `match`, `match_similarity` and `stable`.

    Raises
    ------
    KeyError
        When there is no such fit or layer.
    ValueError
        When input spaces differ, or cells or genes are not shared, with what to use instead.

    Warns
    -----
    saescape._warnings.SignificanceWarning
        When with `on="codes"` the rows that `adata_ref` was fitted on are not at hand, so that only permuted cells can
        serve as a null.

    Notes
    -----
    PW-MCC and its chance level: :cite:t:`Song2025`; features that are found again with another seed:
    :cite:t:`Paulo2025`. Null dictionaries: for `"decoder"` and `"genes"` Gaussian directions with the mean and
    covariance of those of `adata_ref`; for `"codes"` the harder, feature by feature, of two: the codes of `adata_ref`
    with cells permuted, and random directions of the data with its covariance, each with the codes of one feature of
    `adata_ref`, dealt to the cells that lie farthest in that direction. Best similarities are standardised by the draws
    of the feature itself and compared with those of all draws, each standardised by the others.

    Two fits to the *same rows* share the accidents of the sample, and agree more than random dictionaries even when
    there is nothing to find: for seeds use :func:`saescape.tl.feature_stability`, which fits data without features and
    replaces the column `stable`. Learned dictionaries also cover a space more evenly than random ones, so that `score`
    lies somewhat above `null_score` for fits to independent noise, too (.62 and .60 with 64 features in 20 dimensions,
    without a stable feature).

    Up to 16.8 million pairs the assignment is exact. Beyond, the 32 most similar partners of each feature, from either
    side, are candidates, and no array of the size of all pairs is formed.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> for seed, name in enumerate(["one", "two"]):
    ...     sae.tl.sae_fit(
    ...         adata, 32, use_rep="X_pca", max_epochs=20, rng=seed, key_added=name, show_progress_bar=False
    ...     )
    >>> sae.tl.feature_match(adata, adata, key="one", key_ref="two")
    >>> adata.uns["feature_match"]["results"]["feature"].head(2).tolist()
    ['sae_0', 'sae_1']
    """
    check_adata(adata)
    check_adata(adata_ref, "adata_ref")
    check_copy(adata, copy=copy)
    check_choice("on", on, get_args(On))
    check_integer("n_nulls", n_nulls, 3)
    check_real("alpha", alpha, 0, 1)
    slot = feature_match_key(key_added)
    _check_slot(adata, slot, key_added)

    from ._feature_match_inputs import Side, compare_codes, compare_decoders, compare_genes

    side = Side(adata, stored_features(adata, key), key, layer)
    other = Side(
        adata_ref,
        stored_features(adata_ref, key_ref, adata_name="adata_ref", key_name="key_ref"),
        key_ref,
        layer_ref,
    )
    seed, generator = rng_param(rng), as_generator(rng)
    profile = ""
    if on == "decoder":
        comparison = compare_decoders(side, other)
    elif on == "codes":
        comparison = compare_codes(side, other, generator)
    else:
        comparison, profile = compare_genes(side, other)

    from saescape.matching._assign import match_features
    from saescape.matching._nulls import pooled_pvalues
    from saescape.matching._similarity import best_similarity

    start = logg.info(f"matching {comparison.similarity.shape[0]} with {comparison.similarity.shape[1]} features")
    matches = match_features(comparison.similarity)
    score, tests = float(matches.best_similarity.mean()), {}
    for kind, chance in comparison.chance.items():
        nulls = np.stack([best_similarity(chance(generator)) for _ in range(n_nulls)])
        tests[kind] = (nulls, *pooled_pvalues(matches.best_similarity, nulls))
    # the null that is harder to exceed, feature by feature and on the whole
    hardest = np.argmax([np.nan_to_num(pvalue, nan=2) for *_, pvalue in tests.values()], axis=0)
    null_mean, zscore, pvalue = (
        np.choose(hardest, values)
        for values in zip(*((nulls.mean(0), z, p) for nulls, z, p in tests.values()), strict=True)
    )
    deciding = max(tests, key=lambda kind: tests[kind][0].mean())
    null_score = tests[deciding][0].mean(1)
    results = _results(side, other, matches, null_mean, zscore, pvalue, alpha)
    if "permuted_cells" in tests and len(tests) == 1:
        warnings.warn(
            "The rows that `adata_ref` was fitted on are not at hand, so that matches are compared with permuted cells "
            "only: any two features of the same cell type pass. Give `adata_ref` with the representation of its fit.",
            SignificanceWarning,
            stacklevel=2,
        )

    adata = adata.copy() if copy else adata
    adata.uns[slot] = {
        "results": results,
        "score": score,
        "null_score": null_score,
        "mcc": float(matches.similarity.mean()),
        "share_stable": float(results["stable"].to_numpy()[side.alive].mean()),
        "params": {
            "key": key,
            "key_ref": key_ref,
            "on": on,
            "layer": layer,
            "layer_ref": layer_ref,
            "n_nulls": n_nulls,
            "alpha": alpha,
            "null": deciding,
            "profile": profile,
            "n_shared": comparison.n_shared,
            "rng": seed,
        },
    }
    columns = {"match": "match", "match_similarity": "similarity", "stable": "stable"}
    add_columns(adata, side.features.keys, {name: results[of].to_numpy() for name, of in columns.items()})
    logg.info(
        "    finished",
        time=start,
        deep=f"added\n    `.uns[{slot!r}]`, {int(results['stable'].sum())} stable features\n"
        f"    columns `match`, `match_similarity` and `stable` of `.uns[{side.features.keys.uns!r}]['features']`",
    )
    return adata if copy else None


def _check_slot(adata: AnnData, slot: str, key_added: str | None) -> None:
    """A result must not replace a model."""
    if "weights" in adata.uns.get(slot, {}):
        msg = f"`key_added={key_added!r}` would overwrite a fitted sparse autoencoder; choose another name."
        raise ValueError(msg)


def _results(
    side: Side, other: Side, matches: Matches, null_mean: Any, zscore: Any, pvalue: Any, alpha: float
) -> pd.DataFrame:
    """A row for every feature, also for those that never fire."""
    from saescape.links._nulls import false_discovery_rates

    names, n = other.features.names[other.alive].astype(str), len(side.features.names)
    table = pd.DataFrame({"feature": side.features.names.astype(str)}, index=[str(i) for i in range(n)])

    def spread(values: Any, *, missing: Any = np.nan) -> np.ndarray:
        full = np.full(n, missing, dtype=np.asarray(values).dtype if missing != "" else object)
        full[side.alive] = values
        return full

    def named(numbers: Any) -> np.ndarray:
        return spread([names[i] if i >= 0 else "" for i in numbers], missing="")

    table["match"] = named(matches.partner)
    table["similarity"] = spread(np.where(matches.partner >= 0, matches.similarity, np.nan))
    table["best"] = named(matches.best)
    table["best_similarity"] = spread(matches.best_similarity)
    table["mutual"] = spread(matches.mutual, missing=False)
    table["null_mean"] = spread(null_mean)
    table["zscore"] = spread(zscore)
    table["pvalue"] = spread(pvalue)
    table["qvalue"] = false_discovery_rates(table["pvalue"].to_numpy())
    table["stable"] = table["mutual"] & (table["pvalue"] <= alpha)
    return table
