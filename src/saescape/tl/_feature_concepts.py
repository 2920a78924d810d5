from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._validate import check_adata, check_copy, check_integer, check_real, missing_key, string_list
from saescape._warnings import SignificanceWarning

from ._feature_inputs import add_columns, read_fitted
from ._gw_links_inputs import read_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from saescape._typing import IntArray, Rng
    from saescape.representations._phenotype import Phenotype


@doc_params
def feature_concepts(
    adata: AnnData,
    obs_keys: str | Sequence[str],
    *,
    key: str | None = None,
    batch_key: str | None = None,
    nuisance_keys: str | Sequence[str] | None = None,
    n_perms: int = 200,
    min_cells: int = 5,
    min_strength: float = 0.5,
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | None:
    r"""Find the labels and numbers of cells that go with each sparse feature, and features that follow technical ones.

    For each feature and category: the area under the ROC curve of the activation (the many zeros are ties), and F1,
    precision and recall of "active above a threshold", with the threshold from one half of the groups and the counts
    from the other, both ways. For numbers: Spearman's correlation. **Groups of `batch_key` are the replicates.**

    Parameters
    ----------
    {adata}
    obs_keys
        Columns of `.obs`, or variables (such as image features or genes, from `.X`). Categories, strings and booleans
        are labels, compared one against all others; numbers stay numbers.
    {key}
    {batch_key}
        Where a label varies within groups, effects are computed within each group and tested over groups. Where it
        belongs to whole groups (a genotype of donors), groups are compared. None tests over cells, with a warning.
    nuisance_keys
        Columns of `.obs` with technical labels or numbers (plate, batch, donor, depth). Features that follow them are
        flagged. They are compared within combinations of the labels in `obs_keys`, so that plates with other cell types
        do not make the features of cell types technical.
    n_perms
        Permutations of the null of maxima.
    min_cells
        Cells inside, and outside, of a category that a group needs to count.
    min_strength
        `strength` (of numbers: absolute correlation) from which a feature is flagged as nuisance.
    {rng}
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields:

    `adata.uns['sae_concepts' | key + '_concepts']` : :class:`dict`
        `results`, a table of features and categories (missing for numbers): `feature`, `obs_key`, `category`,
        `nuisance` (whether of `nuisance_keys`), `auc`, `spearman`, `strength` (``2 auc - 1`` over the largest value
        that a feature active in as many cells could have), `f1`, `precision` and `recall` (held out), `f1_baseline`
        (of predicting the label everywhere), `threshold` (best F1 on all cells), `n_groups` that counted, `pvalue`,
        `qvalue` (over all features and categories), `pvalue_max`. `params`.
    `adata.uns['sae' | key]['features']` : :class:`pandas.DataFrame`
        `label`, `label_key`, `label_f1`, `label_auc` and `label_qvalue` of the label with the best F1 among those with
        `qvalue` and, where there is one, `pvalue_max` of at most .05 and an F1 above the baseline; empty if there is
        none. With `nuisance_keys`, `nuisance` and `nuisance_label`.

    Raises
    ------
    KeyError
        If the model, a column or a variable does not exist.
    ValueError
        For constant or missing phenotypes, values out of range, or a column in both `obs_keys` and `nuisance_keys`.
    TypeError
        For columns that are neither labels nor numbers.

    Warns
    -----
    SignificanceWarning
        If p-values rest on cells, there are too few groups for any, or labels and nuisance cannot be told apart.

    Notes
    -----
    *Tests.* Labels that vary within groups: a t test over groups that the mean area differs from one half (at least 3
    groups). Labels of whole groups: Student's test of the mean ranks of groups (at least 3 on either side).

    `pvalue_max` is the share of permutations whose largest statistic, over all features and categories of the column,
    is as large (:cite:t:`Westfall1993`): it holds for all of them together. Cells exchange values within their group,
    or whole groups do where the value belongs to them; it is missing where fewer than 200 arrangements of groups exist.

    *Nuisance.* A plate or donor is a single unit, so that any difference between two of them is significant with enough
    cells; `pvalue` is missing for them, and a feature is flagged if its `strength` is at least `min_strength` and
    `pvalue_max`, from cells exchanged within combinations of labels, at most .05. Half of the largest strength is a
    large effect: lower `min_strength` to be stricter.

    *Null worlds.* Of 120 simulations without any relation (320 cells, 8 donors, 20 features), but with donors that
    differ in features, labels and numbers, 8 % had a q-value of at most .05. Where cell types differed between donors
    at random (20 simulations, 400 features), the test over groups had p-values below .05 in 5 % of the pairs, no
    feature got a label, and `pvalue_max` alone would have taken 17 % of the pairs: the former is needed for labels.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> adata.obs["donor"] = [f"donor_{i % 4}" for i in range(adata.n_obs)]  # made up: these are of one donor
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", show_progress_bar=False)
    >>> sae.tl.feature_concepts(adata, "bulk_labels", batch_key="donor", n_perms=20)
    >>> adata.uns["sae_concepts"]["results"].columns[:3].tolist()
    ['feature', 'obs_key', 'category']
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    names, technical = string_list("obs_keys", obs_keys), string_list("nuisance_keys", nuisance_keys)
    if not names and not technical:
        msg = "`obs_keys` names no column; give at least one."
        raise ValueError(msg)
    both = next((name for name in names if name in technical), None)
    if both is not None:
        msg = f"{both!r} is in both `obs_keys` and `nuisance_keys`; decide on one."
        raise ValueError(msg)
    n_perms = check_integer("n_perms", n_perms, 19)
    min_cells = check_integer("min_cells", min_cells)
    min_strength = check_real("min_strength", min_strength, 0, 1)
    fitted = read_fitted(adata, key)
    batch_of = read_batches(adata, batch_key)
    wanted = [_phenotype(adata, name, "obs_keys") for name in names]
    unwanted = [_phenotype(adata, name, "nuisance_keys") for name in technical]

    from saescape.annotation._concept_table import concept_table, joined, label_scalars, nuisance_scalars
    from saescape.annotation._concepts import concept, nuisance
    from saescape.annotation._rank_tests import Target

    start = logg.info(f"comparing {len(fitted.names)} features with {len(wanted) + len(unwanted)} columns")
    generator, tables, untested = as_generator(rng), [], []
    dead = np.diff(fitted.codes.tocsc().indptr) == 0
    for phenotype, labels in wanted:
        rows = np.flatnonzero(phenotype.known)
        target = Target(phenotype.values[rows], phenotype.n_labels)
        groups = None if batch_of is None else batch_of[rows]
        result = concept(
            fitted.codes[rows], target, groups, min_cells=min_cells, n_perms=n_perms, rng=generator.spawn(1)[0]
        )
        tables.append(concept_table(phenotype.name, labels, result, fitted.names, dead, nuisance=False))
        if not np.isfinite(result.pvalue).any():
            untested.append(phenotype.name)
    confounded = []
    stratum_of = _strata([phenotype for phenotype, _ in wanted], adata.n_obs)
    for phenotype, labels in unwanted:
        rows = np.flatnonzero(phenotype.known & (stratum_of >= 0))
        target = Target(phenotype.values[rows], phenotype.n_labels)
        result = nuisance(
            fitted.codes[rows],
            target,
            stratum_of[rows],
            min_cells=min_cells,
            n_perms=n_perms,
            rng=generator.spawn(1)[0],
        )
        tables.append(concept_table(phenotype.name, labels, result, fitted.names, dead, nuisance=True))
        if not np.isfinite(result.effects.effect).any():
            confounded.append(phenotype.name)
    results = joined(tables, fitted.names)

    adata = adata.copy() if copy else adata
    adata.uns[fitted.slots.concepts] = {
        "results": results,
        "params": {
            "key": key,
            "obs_keys": np.array(names, dtype=object),
            "nuisance_keys": np.array(technical, dtype=object) if technical else None,
            "batch_key": batch_key,
            "n_perms": n_perms,
            "min_cells": min_cells,
            "min_strength": min_strength,
            "rng": rng_param(rng),
            "version": version("saescape"),
        },
    }
    columns: dict[str, Any] = label_scalars(results, fitted.names)
    flags = nuisance_scalars(results, fitted.names, min_strength)
    # flags of an earlier call do not go with this table
    columns |= flags if technical else dict.fromkeys(flags)
    add_columns(adata, fitted.keys, columns)
    _warn(batch_key, untested, confounded, tested=len(wanted) > 0)
    n_labelled = int(np.sum(columns["label"] != ""))
    logg.info(
        "    finished",
        time=start,
        deep=f"added\n    `.uns[{fitted.slots.concepts!r}]`, {n_labelled} features with a label\n"
        f"    `.uns[{fitted.keys.uns!r}]['features']`, columns "
        f"{', '.join(f'`{name}`' for name, values in columns.items() if values is not None)}",
    )
    return adata if copy else None


def _phenotype(adata: AnnData, name: str, argument: str) -> tuple[Phenotype, list[str] | None]:
    """Column of `.obs` or variable, and the names of its labels if it has any."""
    from saescape.representations._phenotype import as_phenotype

    if name in adata.obs:
        column = adata.obs[name]
        where = f"adata.obs[{name!r}]"
    elif name in adata.var_names and adata.X is not None:
        column = pd.Series(np.asarray(adata.obs_vector(name)), index=adata.obs_names)
        where = f"adata[:, {name!r}].X"
    else:
        raise missing_key(name, "adata.obs", list(adata.obs.columns), argument=argument)
    try:
        phenotype = as_phenotype(name, column)
    except (TypeError, ValueError) as error:
        text = str(error).replace("`obs_keys`", f"`{argument}`", 1).replace(f"adata.obs[{name!r}]", where, 1)
        raise type(error)(text) from None
    if not phenotype.n_labels:
        return phenotype, None
    # in the order of the codes
    return phenotype, np.unique(np.asarray(column[phenotype.known].astype(str), dtype=str)).tolist()


def _strata(phenotypes: Sequence[Phenotype], n: int) -> IntArray:
    """Number of the combination of labels of each cell; -1 where one is missing."""
    labels = [phenotype for phenotype in phenotypes if phenotype.n_labels]
    if not labels:
        return np.zeros(n, dtype=np.int64)
    known = np.all([phenotype.known for phenotype in labels], axis=0)
    result = np.full(n, -1, dtype=np.int64)
    if known.any():
        combined = np.stack([phenotype.values[known] for phenotype in labels])
        result[known] = np.unique(combined, axis=1, return_inverse=True)[1].ravel()
    return result


def _warn(batch_key: str | None, untested: list[str], confounded: list[str], *, tested: bool) -> None:
    messages = []
    if batch_key is None and tested:
        messages.append(
            "P-values rest on cells (no `batch_key`) and are too small where cells of a donor, plate or well resemble "
            "each other; give `batch_key` to test over groups."
        )
    if untested:
        messages.append(
            f"`batch_key={batch_key!r}` has too few groups (3, on either side where labels belong to groups) with "
            f"enough cells to test {untested}; effects are sizes only, p-values are NaN, and features get no label."
        )
    if confounded:
        messages.append(
            f"`nuisance_keys`: {confounded} do not vary among cells with the same labels in `obs_keys`; whether "
            "features follow the one or the other cannot be told, and none is flagged."
        )
    for msg in messages:
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
