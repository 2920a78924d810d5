from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._logging import logg
from saescape._memory import check_memory
from saescape._validate import check_adata, check_copy, check_integer
from saescape._warnings import SignificanceWarning

from ._feature_genes_inputs import read_expression, read_loadings
from ._feature_inputs import add_columns, read_fitted
from ._gw_links_inputs import read_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

# tables of features x genes that are held at once, in units of float32
_TABLES = 12


@doc_params
def feature_genes(
    adata: AnnData,
    *,
    key: str | None = None,
    genes: str | Sequence[str] | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    use_rep: str | None = None,
    batch_key: str | None = None,
    model: bool = False,
    adata_ref: AnnData | None = None,
    gw_key: str | None = None,
    min_cells: int = 10,
    n_top: int | None = 100,
    copy: bool = False,
) -> AnnData | None:
    r"""Find the genes that go with each sparse feature.

    For each feature and gene, the difference of mean expression between cells where the feature is active and cells
    where it is not, within each group of `batch_key`. The mean over groups is the effect, and a paired t test over
    groups its p-value: **donors (plates, wells) are the replicates, not cells**. P-values are adjusted over all
    features and genes :cite:p:`Benjamini1995`.

    Parameters
    ----------
    {adata}
    {key}
    genes
        Genes to associate; None for all.
    layer
        Layer with the expression; None for `.X`. Log-normalised values are expected.
    use_raw
        Take the expression from `.raw`.
    use_rep
        Key of `.obsm` with a table of expression, genes in columns, such as `gw_expression` of
        :func:`saescape.tl.gw_transfer`.
    {batch_key}
        None tests over cells, with a warning: cells of one donor are not independent, so that p-values are too small.
    model
        Give the model's own loadings of the genes (`adata.varm["sae_decoder"]`, through principal components where
        there are any) instead of differences in the data. Another question: what the decoder adds to the genes when
        the feature is active. Nothing is tested then.
    adata_ref
        Reference of :func:`saescape.tl.gw_map`: its expression is carried over through the stored coupling, and
        `genes`, `layer` and `use_raw` refer to it. Carried-over expression follows the representation that the
        coupling was made of by construction, and is not tested; :func:`saescape.tl.gw_links` does that.
    gw_key
        `key_added` of :func:`saescape.tl.gw_map`; None for the default.
    min_cells
        Active cells, and inactive cells, that a group needs to count. At least 3 groups are needed for a test.
    n_top
        Genes to keep per feature, significant ones first and then by the size of `standardized`; None for all.
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields:

    `adata.uns['sae_genes' | key + '_genes']` : :class:`dict`
        `results`, a table of features and genes: `feature`, `gene`, `source` (`measured`, `transferred` or `model`),
        `effect` (mean difference, or the loading), `standardized` (in units of the gene's SD within groups; of the SD
        over genes for loadings), `correlation` (Pearson, of activation and expression within groups), `mean_active`,
        `mean_inactive`, `n_groups` that counted, `pvalue`, `qvalue`. `genes`, the names of all genes that could have
        been found, without constant ones (the universe for :func:`saescape.tl.feature_enrichment`). `params`.
    `adata.uns['sae' | key]['features']` : :class:`pandas.DataFrame`
        `top_genes` (higher where active), `n_genes` (with a q-value of at most .05) and `n_genes_effective`, the
        participation ratio :math:`(\sum e^2)^2 / \sum e^4` of the effects.

    Raises
    ------
    KeyError
        If the model, a gene, a slot or the coupling does not exist, or the model has no loadings.
    ValueError
        For arguments that exclude each other, values that are not finite, or missing values in `batch_key`.
    TypeError
        If `use_rep` is not a table.
    MemoryError
        If tables of features and genes do not fit.

    Warns
    -----
    SignificanceWarning
        If p-values rest on cells, there are too few groups for any, or expression was carried over.
    UserWarning
        If expression looks like counts.

    Notes
    -----
    The autoencoder was fitted to a function of these genes if it was fitted to their expression: p-values then say that
    feature and gene go together in other donors of the same kind, not that the feature was found without the gene.
    Features that never fire, or fire in too few cells of every group, keep one row with missing values.

    A feature of one cell type goes with all genes of that type. To ask what it adds within the type, give these cells
    only (``adata[adata.obs["cell_type"] == "B cell"].copy()``).

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> adata.obs["donor"] = [f"donor_{i % 4}" for i in range(adata.n_obs)]  # made up: these are of one donor
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", show_progress_bar=False)
    >>> sae.tl.feature_genes(adata, use_raw=True, batch_key="donor", min_cells=3)
    >>> adata.uns["sae_genes"]["results"].columns[:4].tolist()
    ['feature', 'gene', 'source', 'effect']
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    min_cells = check_integer("min_cells", min_cells, 2)
    if n_top is not None:
        n_top = check_integer("n_top", n_top)
    fitted = read_fitted(adata, key)
    if model:
        given = {
            "layer": layer,
            "use_raw": use_raw or None,
            "use_rep": use_rep,
            "batch_key": batch_key,
            "adata_ref": adata_ref,
        }
        idle = next((name for name, value in given.items() if value is not None), None)
        if idle is not None:
            msg = f"`model=True` and `{idle}` exclude each other: loadings belong to the model, not to cells."
            raise ValueError(msg)
    batch_of = read_batches(adata, batch_key)
    if adata_ref is not None:
        check_adata(adata_ref, "adata_ref")

    from saescape.annotation._association import MIN_GROUPS, associate
    from saescape.annotation._gene_table import ALPHA, from_loadings, gene_scalars, gene_table, ranked, universe
    from saescape.links._nulls import false_discovery_rates

    start = logg.info(f"associating {len(fitted.names)} features with genes")
    if model:
        loadings, names = read_loadings(adata, fitted.keys, genes)
        association, source, origin = from_loadings(loadings), "model", f"varm[{fitted.keys.varm!r}]"
    else:
        expression = read_expression(
            adata, genes, layer=layer, use_raw=use_raw, use_rep=use_rep, adata_ref=adata_ref, gw_key=gw_key
        )
        names, origin = expression.names, expression.origin
        source = "measured" if expression.measured else "transferred"
        check_memory(len(fitted.names), _TABLES * len(names), "The table of features and genes", "give `genes`")
        association = associate(
            fitted.codes[expression.cells],
            expression.values,
            None if batch_of is None else batch_of[expression.cells],
            min_cells=min_cells,
            test=expression.measured,
        )
    qvalue = false_discovery_rates(association.pvalue)
    ranking = ranked(association, qvalue, n_top)
    results = gene_table(association, qvalue, ranking, fitted.names, names)
    results.insert(2, "source", pd.Categorical([source] * len(results)))

    adata = adata.copy() if copy else adata
    adata.uns[fitted.slots.genes] = {
        "results": results,
        "genes": names[universe(association)].astype(object),
        "params": {
            "key": key,
            "source": source,
            "origin": origin,
            "layer": layer,
            "use_raw": bool(use_raw),
            "use_rep": use_rep,
            "batch_key": batch_key,
            "min_cells": min_cells,
            "n_top": n_top,
            "gw_key": gw_key,
            "version": version("saescape"),
        },
    }
    add_columns(adata, fitted.keys, gene_scalars(association, qvalue, ranking, names))
    _warn(source, batch_key, association.n_groups, MIN_GROUPS)
    n_found = int(np.sum(qvalue <= ALPHA))
    logg.info(
        "    finished",
        time=start,
        deep=f"added\n    `.uns[{fitted.slots.genes!r}]`, {n_found} pairs of feature and gene with q <= .05\n"
        f"    `.uns[{fitted.keys.uns!r}]['features']`, columns `top_genes`, `n_genes`, `n_genes_effective`",
    )
    return adata if copy else None


def _warn(source: str, batch_key: str | None, n_groups: np.ndarray, min_groups: int) -> None:
    """Say what p-values rest on, or why there are none."""
    if source == "model":
        return
    if source == "transferred":
        msg = (
            "Expression was carried over by a coupling and is not tested: effects are sizes only. "
            "`sae.tl.gw_links` tests features against genes through refitted couplings."
        )
    elif batch_key is None:
        msg = (
            "P-values rest on cells (no `batch_key`) and are too small where cells of a donor, plate or well resemble "
            "each other; give `batch_key` to test over groups."
        )
    elif n_groups.max(initial=0) < min_groups:
        msg = (
            f"`batch_key={batch_key!r}`: no feature has {min_groups} groups with enough active and inactive cells "
            f"(`min_cells`; at most {int(n_groups.max(initial=0))} found); effects are sizes only, p-values are NaN."
        )
    else:
        return
    warnings.warn(msg, SignificanceWarning, stacklevel=3)
