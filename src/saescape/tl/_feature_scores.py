from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from saescape._docs import doc_params
from saescape._keys import feature_scores_key
from saescape._logging import logg
from saescape._random import as_generator, child_seed, rng_param
from saescape._rep import get_representation
from saescape._stored_features import group_codes, stored_features
from saescape._validate import check_adata, check_copy, check_integer

from ._feature_inputs import add_columns, as_text
from ._feature_match import _check_slot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from saescape._rows import RowSource
    from saescape._typing import IntArray, Rng

# cells that scores are computed on
_MOST_CELLS = 20_000
_SUMMARY = ("ms", "two_afc", "entropy", "purity")


@doc_params
def feature_scores(
    adata: AnnData,
    *,
    use_rep: str,
    groupby: str | None = None,
    batch_key: str | None = None,
    key: str | None = None,
    n_perms: int = 20,
    n_trials: int = 50,
    n_exemplars: int = 9,
    allow_same: bool = False,
    rng: Rng = 0,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Score how interpretable features are: whether the cells in which one is active have something in common.

    A judge who sees the cells through another representation than the sparse autoencoder compares those in which a
    feature is active. The same scores of the input dimensions, made as sparse as the features, say whether features are
    clearer than dimensions (the drop in polysemanticity).

    Parameters
    ----------
    {adata}
    use_rep
        Key of `.obsm` with the judge's representation. It must not be what the features were fitted on: they are
        directions in it, so that it cannot judge them. Take another modality, another model, or measured genes.
    groupby
        Column of `.obs` with labels (cell type, treatment), for `entropy` and `purity`.
    batch_key
        Column of `.obs` with the unit of independence (plate, donor, well). Cells are permuted within batches;
        exemplars come from other batches than the cell in question, and inactive cells from the same batch as the
        active ones.
    {key}
    n_perms
        Permutations of the cells, at least three.
    n_trials
        Trials of each feature for `two_afc`.
    n_exemplars
        Active, and inactive, cells shown in a trial.
    allow_same
        Allow the representation that the features were fitted on.
    {rng}
    {key_added}
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields:

    `adata.uns['feature_scores' | key_added]['results']` : :class:`pandas.DataFrame`
        One row per feature: `feature`, `n_active` (cells, of those scored), and for each score its value, `_null` (mean
        over permutations) and `_pvalue` (one-sided, better than permuted): `ms`
        (:func:`saescape.metrics.monosemanticity`), `two_afc` (:func:`saescape.metrics.two_afc`), and with `groupby`
        `entropy` (nats, :func:`saescape.metrics.label_entropy`) and `purity`
        (:func:`saescape.metrics.label_purity`), `main_label` (with the largest share) and `ms_ceiling` (mean cosine of
        cells of that label). NaN below ten active cells.
    `adata.uns['feature_scores' | key_added]['polysemanticity']` : :class:`pandas.DataFrame`
        Medians of the scores for `features`, and for both ends of all input `dimensions`, active in as many cells as
        the median feature; where the input is at hand.
    `adata.uns['feature_scores' | key_added]['params']` : :class:`dict`
        Arguments and `n_cells`.
    `adata.uns['sae' | key]['features']`
        Columns `ms`, `ms_pvalue`, `two_afc`, and with `groupby` `entropy`, `purity` and `main_label`.

    Raises
    ------
    KeyError
        When there is no such fit, representation or column.
    ValueError
        When the judge sees the input of the features (see `allow_same`), and for missing labels or batches.

    Notes
    -----
    Monosemanticity score: :cite:t:`Pach2025`; forced choice: :cite:t:`Zimmermann2024`. `two_afc` saturates: a feature
    of ten of twenty cell types gets .8, while `ms` falls by the number of types; read both. P-values standardise each
    feature by its own permutations and pool all of them; with few features they cannot be small. At most 20,000 cells
    are scored.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 32, use_rep="X_pca", max_epochs=20, show_progress_bar=False)
    >>> adata.obsm["markers"] = adata[:, ["CD3D", "CD79A", "NKG7", "LYZ", "FCER1A"]].X
    >>> sae.tl.feature_scores(adata, use_rep="markers", groupby="bulk_labels")
    >>> scores = adata.uns["feature_scores"]["polysemanticity"]
    >>> bool(scores.loc["features", "ms"] > 0)
    True
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    check_integer("n_perms", n_perms, 3)
    check_integer("n_trials", n_trials)
    check_integer("n_exemplars", n_exemplars)
    slot = feature_scores_key(key_added)
    _check_slot(adata, slot, key_added)
    features = stored_features(adata, key)
    judged = get_representation(adata, use_rep).rows
    source = _input_rows(adata, features.entry)
    if not allow_same:
        _check_independent(adata, use_rep, judged, source, features.entry)
    labels = None if groupby is None else group_codes(adata, groupby, "groupby")
    batches = None if batch_key is None else group_codes(adata, batch_key, "batch_key")[0]

    from saescape.interpretability._scores import Judge, dimension_codes, score_features
    from saescape.representations._permutations import Permutations

    from ._superposition_inputs import pooled_rows

    seed, generator = rng_param(rng), as_generator(rng)
    n = adata.n_obs
    cells = np.arange(n) if n <= _MOST_CELLS else np.sort(generator.choice(n, _MOST_CELLS, replace=False))
    batch_of = None if batches is None else np.unique(batches[cells], return_inverse=True)[1].ravel()
    blocks = np.zeros(len(cells), np.int64) if batch_of is None else batch_of
    judge = Judge(
        rows=pooled_rows(judged, cells),
        label_of=None if labels is None else labels[0][cells],
        n_labels=0 if labels is None else len(labels[1]),
        batch_of=batch_of,
        permutations=Permutations(blocks, "cells", n_perms, child_seed(generator)),
    )
    start = logg.info(f"scoring {int(features.alive.sum())} features by `.obsm[{use_rep!r}]`")
    settings = {"n_trials": n_trials, "n_exemplars": n_exemplars}
    feature_rng, dimension_rng = generator.spawn(2)
    codes = sparse.csr_matrix(features.codes[cells])
    table = score_features(codes, judge, **settings, rng=feature_rng)
    summary = {"features": _medians(table)}
    if source is not None:
        share = float(np.median(table["n_active"][table["n_active"] > 0])) / len(cells)
        ends = dimension_codes(pooled_rows(source, cells), min(share, 0.5))
        summary["dimensions"] = _medians(score_features(ends, judge, **settings, rng=dimension_rng))
    results = _named(table, features.names, None if labels is None else labels[1])

    adata = adata.copy() if copy else adata
    adata.uns[slot] = {
        "results": results,
        "polysemanticity": pd.DataFrame(summary).T,
        "params": {
            "use_rep": use_rep,
            "groupby": groupby,
            "batch_key": batch_key,
            "key": key,
            "n_perms": n_perms,
            **settings,
            "allow_same": allow_same,
            "n_cells": len(cells),
            "rng": seed,
        },
    }
    columns = ["ms", "ms_pvalue", "two_afc", *(["entropy", "purity", "main_label"] if groupby else [])]
    add_columns(adata, features.keys, {name: results[name].to_numpy() for name in columns})
    logg.info(
        "    finished",
        time=start,
        deep=f"added\n    `.uns[{slot!r}]`, scores with their nulls\n"
        f"    columns {columns} of `.uns[{features.keys.uns!r}]['features']`",
    )
    return adata if copy else None


def _input_rows(adata: AnnData, entry: Mapping[str, Any]) -> RowSource | None:
    """What the features were fitted on, where it is at hand."""
    params = entry.get("params", {})
    try:
        return get_representation(adata, params.get("use_rep"), params.get("layer")).rows
    except (KeyError, ValueError):
        return None


def _check_independent(
    adata: AnnData, use_rep: str, judged: RowSource, source: RowSource | None, entry: Mapping[str, Any]
) -> None:
    same = entry.get("params", {}).get("use_rep") == use_rep
    if source is not None and not same and (judged.n_obs, judged.n_dims) == (source.n_obs, source.n_dims):
        some = np.unique(np.linspace(0, adata.n_obs - 1, 100).astype(np.int64))
        first, second = judged.take(some), source.take(some)
        same = first.shape == second.shape and np.allclose(first, second)
    if same:
        msg = (
            f"`use_rep={use_rep!r}` is what the features were fitted on, so that it cannot judge them; give another "
            f"representation (available in `.obsm`: {list(adata.obsm.keys())}), or `allow_same=True`."
        )
        raise ValueError(msg)


def _medians(table: pd.DataFrame) -> dict[str, float]:
    known = [name for name in _SUMMARY if name in table and table[name].notna().any()]
    return {"n": float(table["ms"].notna().sum())} | {name: float(table[name].median()) for name in known}


def _named(table: pd.DataFrame, names: pd.Index, labels: pd.Index | None) -> pd.DataFrame:
    table = table.copy()
    if labels is not None:
        numbers: IntArray = table.pop("label").to_numpy()
        table["main_label"] = as_text([labels[i] if i >= 0 else None for i in numbers])
    table.insert(0, "feature", names.astype(str))
    table.index = pd.Index([str(i) for i in range(len(table))])
    return table
