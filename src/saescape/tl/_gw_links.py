from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._keys import gw_links_key
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._validate import check_adata, check_copy, check_integer, check_real
from saescape.coupling._stored import stored_coupling, warn_about
from saescape.genesets._read import in_universe, read_net

from ._gw_links_inputs import read_batches, read_features, read_genes, read_settings
from ._gw_links_slots import batch_entries, enrichment_table, gene_table, module_names, module_table, warn
from ._gw_map_inputs import read_rows
from ._gw_map_joint import read_joint

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from anndata import AnnData

    from saescape._typing import Rng
    from saescape.genesets._read import Net

_MIN_NULLS = 5


@doc_params
def gw_links(
    adata: AnnData,
    adata_ref: AnnData,
    *,
    feature_key: str = "sae",
    genes: str | Sequence[str] | None = None,
    layer: str | None = None,
    key: str | None = None,
    net: Net | None = None,
    batch_key: str | None = None,
    n_nulls: int = 60,
    n_modules: int | None = None,
    max_qvalue: float = 0.05,
    rng: Rng = 0,
    device: str | torch.device | None = None,
    key_added: str | None = None,
    show_progress_bar: bool = True,
    copy: bool = False,
) -> AnnData | None:
    r"""Link features of images to genes through a stored coupling, and test the links against refitted couplings.

    With :math:`P` the coupling, :math:`Y` the expression of the reference and :math:`z_f` a feature,

    .. math:: r_{fg} = \operatorname{cor}_i\Bigl(z_{if}, \frac{\sum_j P_{ij} Y_{jg}}{\sum_j P_{ij}}\Bigr)

    over the cells of the image side. Such correlations are high for **any** coupling, also of unrelated data: what is
    carried over is a smooth function of the image geometry by construction, and so are features. Shuffling cells does
    not show this. Links are therefore compared with those of couplings that are fitted anew to references whose
    arrangement is left to chance.

    Parameters
    ----------
    {adata}
    adata_ref
        The reference of :func:`saescape.tl.gw_map`, with expression and the representation the coupling was computed
        from. Never changed.
    feature_key
        `key_added` of :func:`saescape.tl.sae_fit` (`"sae"`: the default one), or key of `adata.obsm` with features in
        columns. Features that do not vary are left out.
    genes
        Genes to link. None takes `adata_ref.var['highly_variable']`, or without it up to 2,000 genes with the largest
        variance.
    layer
        Layer of `adata_ref` with the expression, on a logarithmic scale; None for `.X`.
    key
        `key_added` of :func:`saescape.tl.gw_map`; None for the default.
    net
        Gene sets to look for in the modules of genes: path of a GMT file, a dict of names and genes, or a table with
        columns `source` and `target` as decoupler has it :cite:p:`BadiaiMompel2022`.
    batch_key
        Column of `adata.obs` with the unit of independence (plate, donor, well). Correlations are then computed within
        each batch and combined, and a link must be consistent over at least three batches to be significant.
    n_nulls
        Refitted couplings, at least 5; 0 leaves the tests out, with a warning. With 20, null SDs are so uncertain that
        hardly any link is significant.
    n_modules
        Number of modules of genes; None takes the one from 2 to 15 with the largest mean silhouette.
    max_qvalue
        Genes with a link of at most this q-value are grouped into modules. 1 groups all genes: modules and gene sets
        then describe how genes go together along this coupling, and say nothing for the links.
    {rng}
    {device}
    key_added
        Name in `.uns`, used verbatim in place of `gw_links`.
    {show_progress_bar}
    {copy}

    Returns
    -------
    None, or a changed copy of `adata` with `copy=True`. Sets the following field:

    `adata.uns['gw_links' | key_added]` : :class:`dict`
        Arrays `(n_features, n_genes)` of dtype `float32`: `correlation`, `null_mean` and `null_sd` (over refits),
        `zscore` (their distance in SDs), `pvalue`, `qvalue` (over all links), and with `batch_key` `n_batches` and
        `correlation_sd` (over batches). NaN where a link is not defined or was not tested.

        `features` (names), `genes` (table: `module`, missing without a link of at most `max_qvalue`; `predictability`,
        its mean over refits `predictability_null` and `predictability_pvalue`; `max_abs_correlation`), `modules`
        (table: `n_genes`, `top_features`, `top_genes`), `enrichment` (table with `net`: `module`, `gene_set`,
        `n_overlap`, `n_set`, `odds_ratio`, `pvalue`, `qvalue`, `unspecific`, `genes`).
        `pvalue_global` (all links together), `strength_global` and `null_global` `(n_nulls,)` (what it compares, the
        mean squared z-score), `refit_agreement` (correlation of the links with those of the reduced problem that nulls
        come from), `params`.

    Raises
    ------
    KeyError
        If the coupling, a representation, a feature array, a gene, a layer or a column does not exist.
    ValueError
        For values out of range or not finite, features or genes that are all constant, a reference that does not hold
        the cells of the coupling, gene sets without any gene among those tested, or a missing batch.
    TypeError
        For gene sets or names of the wrong type.
    FileNotFoundError
        If there is no such GMT file.

    Warns
    -----
    SignificanceWarning
        If the coupling is doubtful; if all links together are not stronger than those of refits, or were not tested; if
        there are fewer than three batches; if the reduced problem does not reproduce the links of the coupling.

    Notes
    -----
    *Nulls.* For each refit the reference cells keep their genes and, nearly, their neighbours, but are mapped by a
    random smooth function (a draw of a Gaussian process) with the variances of the data along the principal axes:
    clusters and branches stay, how they lie to each other is chance. The image side stays as it is, with its features;
    nulls that rearrange it are too weak. At most 1,000 cells of each side take part, summarised by 128 points, with the
    settings of the coupling (`metric`, `epsilon`, `n_starts`, `joint_obs`) but fixed marginals. `refit_agreement` says
    how well this reduced problem reproduces the links.

    *P-values.* Each link has its own null mean and SD. Few refits say little about the tail of a single link, so that
    the refits are standardised in the same way, each by the others, and pooled over all links: `pvalue` is the share
    of this pool as far from 0, `qvalue` its adjustment over all links :cite:p:`Tusher2001,Benjamini1995`. All
    links of one coupling are right or wrong together: `pvalue_global` is the share ``(1 + #) / (1 + n_nulls)`` of
    refits with as large a mean squared z-score, and where it is large, no single link should be trusted. Of 14
    unrelated simulated pairs (:func:`saescape.datasets.paired` with ``rho=0``, 200 or 250 cells, 20 refits) none had a
    q-value below .05, and of 11 one had a global p-value below .05. The share of links with p-values below .05 was .06
    on average, but .3 in one pair: single p-values without the adjustment say little. With 60 refits the three pairs
    measured (those with the largest shares among them) had shares of .01 to .06 and smallest q-values of .76 to .79.

    A link that is not significant is not refuted. Where both sides have a handful of branches or clusters, these meet
    their counterparts by chance in a good share of the refits, and no statistic can tell a right coupling from those:
    none of 6 related pairs of such data had a significant link, although correlations ranked the planted links high
    (area under the ROC curve .94 in the pair mapped best). Correlations then rank links without proving any.
    In a related pair with 12 branches (500 cells) the smallest q-value was .13 with 20 refits, and 1,197 links had one
    below .05 with 60 (global p .016).

    *Batches.* The correlation is the mean of those within batches on Fisher's scale, with weights ``n - 3``. `pvalue`
    is the larger one of that against the refits (combined in the same way) and that of a t test over batches.

    *Predictability* is the share of the variance of a gene's carried-over expression that ridge regression on the image
    representation (at most 50 principal axes) predicts for cells held out, whole batches together with `batch_key`. It
    is high for unrelated data and means nothing without `predictability_null`; even a somewhat higher level of all
    genes does not show a relation. `predictability_pvalue` therefore says whether a gene is further ahead of the median
    gene than in the refits.

    *Modules* are genes with at least one link of at most `max_qvalue`, grouped by average linkage of one minus the
    correlation of their z-scores over features. *Gene sets* with at least 5 tested genes are tested in each module with
    the hypergeometric distribution among the genes tested, adjusted over all modules and sets; `unspecific` marks those
    significant in more than half of at least three modules.

    Examples
    --------
    >>> import warnings
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.paired(60, 60, n_types=2)
    >>> with warnings.catch_warnings(action="ignore"):  # few cells and refits save time here and warn
    ...     sae.tl.gw_map(adata, adata_ref, use_rep="X_image", n_nulls=0, show_progress_bar=False, device="cpu")
    ...     sae.tl.gw_links(adata, adata_ref, feature_key="programs", n_nulls=5, show_progress_bar=False, device="cpu")
    >>> adata.uns["gw_links"]["genes"].columns.tolist()[:2]
    ['module', 'predictability']
    >>> sae.get.gw_links_df(adata, n_top=5).shape
    (5, 9)
    """
    check_adata(adata)
    check_adata(adata_ref, "adata_ref")
    check_copy(adata, copy=copy)
    n_nulls = check_integer("n_nulls", n_nulls, 0)
    if 0 < n_nulls < _MIN_NULLS:
        msg = f"`n_nulls` must be 0 or at least {_MIN_NULLS}, found {n_nulls}: SDs of fewer refits are too uncertain."
        raise ValueError(msg)
    if n_modules is not None:
        n_modules = check_integer("n_modules", n_modules)
    max_qvalue = check_real("max_qvalue", max_qvalue, 0, 1)
    sets = None if net is None else read_net(net)
    coupling = stored_coupling(adata, adata_ref, key)
    params = dict(coupling.entry.get("params", {}))
    batch_of = read_batches(adata, batch_key)
    features = read_features(adata, feature_key)
    chosen = read_genes(adata_ref, genes, layer)
    if sets is not None:
        sets = in_universe(sets, chosen.names)
    rows = read_rows(adata, params.get("use_rep"), "adata", "use_rep")
    rows_ref = read_rows(adata_ref, params.get("use_rep_ref"), "adata_ref", "use_rep_ref")
    settings = read_settings(params, resolve_device(device))
    supervised = params.get("joint_obs")
    joint = read_joint(adata, adata_ref, None if supervised is None else [str(column) for column in supervised])
    name = gw_links_key(key_added)

    from tqdm.auto import tqdm

    from saescape.links._links import MIN_BATCHES, LinkData, consistent, null_links, observed_links
    from saescape.links._nulls import false_discovery_rates

    start = logg.info(f"linking {len(features.names)} features to {len(chosen.names)} genes")
    cells = np.flatnonzero(coupling.mass > 0)
    cells_ref = np.unique(coupling.plan.indices)
    data = LinkData(
        codes=features.codes[cells],
        expression=chosen.expression[cells_ref],
        plan=coupling.plan[cells][:, cells_ref],
        rows=rows[cells],
        rows_ref=rows_ref[cells_ref],
        batch_of=None if batch_of is None else np.unique(batch_of[cells], return_inverse=True)[1].ravel(),
        joint=None if joint is None else joint.take(cells, cells_ref),
    )
    with tqdm(total=1 + n_nulls, desc="gw_links", disable=not show_progress_bar) as bar:
        links = observed_links(data)
        nulls = null_links(data, links.correlation, settings, n_nulls, as_generator(rng), lambda: bar.update())
    pvalue = consistent(nulls.pvalue, links)
    qvalue = false_discovery_rates(pvalue)
    module = module_names(nulls.zscore, qvalue, n_modules, max_qvalue)

    adata = adata.copy() if copy else adata
    entry = {
        "correlation": links.correlation,
        "null_mean": nulls.mean,
        "null_sd": nulls.sd,
        "zscore": nulls.zscore,
        "pvalue": pvalue,
        "qvalue": qvalue,
    }
    result: dict[str, Any] = {table: values.astype(np.float32) for table, values in entry.items()}
    result |= batch_entries(links)
    result["features"] = features.names
    result["genes"] = gene_table(chosen.names, module, links.correlation, nulls)
    result["modules"] = module_table(module, nulls.zscore, features.names, chosen.names)
    if sets is not None:
        result["enrichment"] = enrichment_table(module, chosen.names, sets, len(chosen.names))
    result["pvalue_global"] = nulls.pvalue_global
    result["strength_global"] = nulls.strength
    result["null_global"] = nulls.null_strength
    result["refit_agreement"] = nulls.agreement
    result["params"] = {
        "feature_key": feature_key,
        "genes": chosen.chosen,
        "layer": layer,
        "key": key,
        "batch_key": batch_key,
        "n_nulls": n_nulls,
        "n_modules": n_modules,
        "max_qvalue": max_qvalue,
        "rng": rng_param(rng),
        "version": version("saescape"),
    }
    adata.uns[name] = result
    warn_about(coupling)
    n_batches = None if links.n_batches is None else int(links.n_batches.max())
    warn(nulls, n_nulls, n_batches, MIN_BATCHES)
    logg.info(
        "    finished",
        time=start,
        deep=f"added\n    `.uns[{name!r}]`, {int(np.sum(qvalue <= 0.05))} links with q <= .05, "
        f"{len(module.categories)} modules of genes",
    )
    return adata if copy else None
