from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._logging import logg
from saescape._validate import check_adata, check_copy, check_integer, check_real, string_list
from saescape._warnings import SignificanceWarning
from saescape.genesets._read import in_universe, read_net

from ._feature_inputs import add_columns, read_fitted, stored_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from saescape.genesets._read import Net

_ALPHA = 0.05
_UNSPECIFIC_SHARE, _UNSPECIFIC_LEAST = 0.2, 3
# genes taken where nothing was tested
_N_UNTESTED = 50


@doc_params
def feature_enrichment(
    adata: AnnData,
    net: Net,
    *,
    key: str | None = None,
    n_genes: int | None = None,
    max_qvalue: float = 0.05,
    min_size: int = 10,
    max_size: int | None = 500,
    universe: str | Sequence[str] | None = None,
    n_top: int | None = 20,
    copy: bool = False,
) -> AnnData | None:
    r"""Find the gene sets that are over-represented among the genes of each sparse feature.

    The genes are those of :func:`saescape.tl.feature_genes` that are **higher where the feature is active**. With
    `N` genes in the universe, `K` of them in the set and `n` genes of the feature, the p-value of an overlap of `k` is
    the right tail of the hypergeometric distribution,

    .. math::
        P(X \ge k) = \sum_{i \ge k} \binom{K}{i} \binom{N - K}{n - i} \Big/ \binom{N}{n},

    that is Fisher's exact test, one-sided. P-values are adjusted over all features and sets together
    :cite:p:`Benjamini1995`.

    Parameters
    ----------
    {adata}
    net
        Gene sets: path of a GMT file, dict of names and genes, or a table with columns `source` (set) and `target`
        (gene) as decoupler uses them. Targets with a negative `weight` are left out.
    {key}
    n_genes
        Take this many genes per feature, those first in the table of :func:`saescape.tl.feature_genes`, whether
        significant or not. None takes the significant ones where they were tested; of loadings, carried-over
        expression and where there were too few groups, the first 50.
    max_qvalue
        Largest q-value of a significant gene.
    min_size, max_size
        Genes of the universe that a set may have; `max_size` None for no limit.
    universe
        Genes that could have been found. None takes all genes that :func:`saescape.tl.feature_genes` associated, which
        is right unless the sets themselves cover a part of them only.
    n_top
        Sets to keep per feature, by p-value; None for all that share a gene with it.
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields:

    `adata.uns['sae_enrichment' | key + '_enrichment']` : :class:`dict`
        `results`, a table of features and sets: `feature`, `gene_set`, `n_overlap`, `n_set`, `n_genes` (of the
        feature), `odds_ratio` (0.5 added to each count), `pvalue`, `qvalue`, `unspecific` (significant in more than
        20 % of the features tested, and in at least 3: it says little about any of them), `genes` shared. `n_tests`,
        over how many p-values were adjusted. `params`.
    `adata.uns['sae' | key]['features']` : :class:`pandas.DataFrame`
        `gene_set` (the first with a q-value of at most .05, specific ones before others; empty if there is none) and
        `gene_set_qvalue`.

    Raises
    ------
    KeyError
        If there is no model, or :func:`saescape.tl.feature_genes` was not run.
    FileNotFoundError
        If there is no such GMT file.
    ValueError
        If no gene of the sets is in the universe (with examples of both namings), no set has a size within the
        limits, or the genes are older than the model.

    Warns
    -----
    SignificanceWarning
        If genes were taken that are not significant, or no feature has any.

    Notes
    -----
    The test is competitive: genes of the feature against all others. Genes of a set are correlated in cells, so that
    genes that came up by chance come up together, and sets with them. By default only genes that differ between
    active and inactive cells in all groups alike are therefore taken; with `n_genes` small p-values describe the list
    but do not show that the feature has to do with the set. Of 460 features whose cells were permuted within donors (20
    simulations with modules of 10 genes as sets), none had a set with a q-value of at most .05 by default, and 32 % had
    one with ``n_genes=20``.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> adata.obs["donor"] = [f"donor_{i % 4}" for i in range(adata.n_obs)]  # made up: these are of one donor
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", show_progress_bar=False)
    >>> sae.tl.feature_genes(adata, use_raw=True, batch_key="donor", min_cells=3)
    >>> net = {"B cells": ["CD79A", "CD79B", "MS4A1", "CD74"], "NK cells": ["NKG7", "GNLY", "GZMB", "PRF1"]}
    >>> sae.tl.feature_enrichment(adata, net, min_size=3)
    >>> adata.uns["sae_enrichment"]["results"].columns[:3].tolist()
    ['feature', 'gene_set', 'n_overlap']
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    n_genes = None if n_genes is None else check_integer("n_genes", n_genes)
    n_top = None if n_top is None else check_integer("n_top", n_top)
    min_size = check_integer("min_size", min_size)
    max_size = None if max_size is None else check_integer("max_size", max_size, min_size)
    max_qvalue = check_real("max_qvalue", max_qvalue, 0, 1)
    fitted = read_fitted(adata, key)
    entry = stored_result(adata, fitted.slots.genes, fitted.keys, "top_genes")
    tested = [str(gene) for gene in entry["genes"]]
    if universe is not None:
        wanted = set(string_list("universe", universe))
        tested = [gene for gene in tested if gene in wanted]
        if not tested:
            msg = "`universe` has none of the genes that `sae.tl.feature_genes` associated; check how genes are named."
            raise ValueError(msg)
    sets = in_universe(read_net(_positive(net)), tested)
    sizes = [len(genes) for genes in sets.values()]
    if not any(min_size <= size and (max_size is None or size <= max_size) for size in sizes):
        msg = (
            f"No set of `net` has between `min_size` ({min_size}) and `max_size` ({max_size}) genes among the "
            f"{len(tested)} tested; sizes found are {min(sizes)} to {max(sizes)}."
        )
        raise ValueError(msg)

    from saescape.genesets._enrichment import as_table, overlaps

    start = logg.info(f"testing {len(sets)} gene sets in {len(fitted.names)} features")
    groups, significant = _genes_of(entry["results"], set(tested), n_genes, max_qvalue)
    tests = overlaps(
        groups,
        sets,
        len(tested),
        min_set=min_size,
        max_set=max_size,
        many=_UNSPECIFIC_SHARE,
        at_least=_UNSPECIFIC_LEAST,
    )
    feature, gene_set = _first(tests.pvalue, tests.n_overlap, n_top)
    results = as_table(tests, feature, gene_set, groups, sets, "feature")
    results.insert(4, "n_genes", tests.n_group[feature])
    results["feature"] = pd.Categorical(results["feature"], categories=pd.Index(fitted.names.astype(object)))

    adata = adata.copy() if copy else adata
    adata.uns[fitted.slots.enrichment] = {
        "results": results,
        "n_tests": int(tests.pvalue.size),
        "params": {
            "key": key,
            "n_genes": n_genes,
            "max_qvalue": max_qvalue,
            "min_size": min_size,
            "max_size": max_size,
            "n_universe": len(tested),
            "source": str(entry["params"]["source"]),
            "version": version("saescape"),
        },
    }
    add_columns(adata, fitted.keys, _scalars(results, fitted.names))
    _warn(len(groups), significant=significant, n_genes=n_genes)
    logg.info(
        "    finished",
        time=start,
        deep=f"added\n    `.uns[{fitted.slots.enrichment!r}]`, {int(np.sum(tests.qvalue <= _ALPHA))} pairs of feature "
        f"and set with q <= .05\n    `.uns[{fitted.keys.uns!r}]['features']`, columns `gene_set`, `gene_set_qvalue`",
    )
    return adata if copy else None


def _positive(net: Any) -> Any:
    """Targets that go down with a set do not belong to a test for higher expression."""
    if isinstance(net, pd.DataFrame) and "weight" in net and pd.api.types.is_numeric_dtype(net["weight"]):
        kept = net[~(net["weight"] < 0)]
        if len(kept) < len(net):
            logg.info(f"    leaving out {len(net) - len(kept)} targets of `net` with a negative weight")
        return kept
    return net


def _genes_of(
    results: pd.DataFrame, universe: set[str], n_genes: int | None, max_qvalue: float
) -> tuple[dict[str, list[str]], bool]:
    """Genes of each feature that are higher where it is active, and whether they were chosen by their q-values."""
    table = results[results["gene"].astype(object).isin(universe) & (results["effect"] > 0)]
    significant = n_genes is None and bool(results["qvalue"].notna().any())
    if significant:
        table = table[table["qvalue"] <= max_qvalue]
    found = table.groupby("feature", observed=True, sort=False)["gene"]
    limit = n_genes if n_genes is not None else None if significant else _N_UNTESTED
    return {str(name): [str(gene) for gene in genes[:limit]] for name, genes in found}, significant


def _first(pvalue: np.ndarray, n_overlap: np.ndarray, n_top: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the features and sets to keep, by feature and p-value."""
    features, sets = [], []
    for row, values in enumerate(pvalue):
        order = np.argsort(values, kind="stable")
        order = order[n_overlap[row, order] > 0][:n_top]
        features.append(np.full(len(order), row))
        sets.append(order)
    if not features:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(features), np.concatenate(sets)


def _scalars(results: pd.DataFrame, names: np.ndarray) -> dict[str, np.ndarray]:
    hits = results[results["qvalue"] <= _ALPHA].sort_values(["unspecific", "pvalue"], kind="stable")
    best = hits.assign(feature=hits["feature"].astype(object)).drop_duplicates("feature").set_index("feature")
    best = best.reindex(names)
    return {
        "gene_set": best["gene_set"].astype(object).fillna("").to_numpy(dtype=object),
        "gene_set_qvalue": best["qvalue"].to_numpy(dtype=np.float64),
    }


def _warn(n_features: int, *, significant: bool, n_genes: int | None) -> None:
    if n_features == 0:
        msg = "No feature has a significant gene: no set was tested."
    elif significant:
        return
    else:
        why = f"`n_genes={n_genes}`" if n_genes is not None else "genes were not tested"
        msg = (
            f"Genes were taken that need not be significant ({why}): genes of a set vary together, so that small "
            "p-values of sets describe the list of genes but do not show that the feature has to do with the set."
        )
    warnings.warn(msg, SignificanceWarning, stacklevel=3)
