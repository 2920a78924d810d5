from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._keys import gw_transfer_keys
from saescape._logging import logg
from saescape._memory import check_memory
from saescape._rows import RowSource
from saescape._validate import check_adata, check_copy, require_key, string_list
from saescape.coupling._expression import reference_expression
from saescape.coupling._obs_column import LabelColumn, read_column
from saescape.coupling._stored import stored_coupling, warn_about
from saescape.coupling._transferred import Transferred, expression_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from scipy import sparse

    from saescape._keys import GwTransferKeys
    from saescape.coupling._obs_column import NumberColumn
    from saescape.coupling._stored import StoredCoupling


@doc_params
def gw_transfer(
    adata: AnnData,
    adata_ref: AnnData,
    *,
    obs: str | Sequence[str] | None = None,
    var_names: str | Sequence[str] | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    gene_symbols: str | None = None,
    obsm: str | Sequence[str] | None = None,
    key: str | None = None,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Carry labels, expression and embeddings of the reference over through a stored coupling.

    With :math:`P` the coupling, each cell :math:`i` has a distribution over the cells of the reference,
    :math:`p_{ij} = P_{ij} / \sum_j P_{ij}`. Numbers are its means (barycentric projection, :cite:p:`Ferradans2014`),
    labels those with the largest share. What comes out are **averages of other cells, not measurements**: they are
    smoother than data, and genes that vary with what the coupling matched look correlated with it by construction.
    Do not test them for differences as if they had been measured.

    Parameters
    ----------
    {adata}
    adata_ref
        The reference of :func:`saescape.tl.gw_map`. Its cells are found by name, in any order; further cells do not
        matter. May be a view or backed, and is never changed.
    obs
        Column or columns of `adata_ref.obs`. Categories and text are carried over as labels, numbers and booleans as
        means; turn numbers that are names (such as cluster ids) into categories first. Missing values are left out,
        and the rest of the mass counts.
    var_names
        Genes whose expression is carried over. For many of them see :func:`saescape.get.gw_expression`.
    layer
        Layer of `adata_ref` with the expression; None for `.X`.
    use_raw
        Take the expression from `adata_ref.raw`, as in :func:`scanpy.get.obs_df`.
    gene_symbols
        Column of `adata_ref.var` (of `adata_ref.raw.var` with `use_raw`) in which `var_names` are looked up; None for
        its index.
    obsm
        Key or keys of `adata_ref.obsm` (two-dimensional, dense or sparse). The mean of an embedding such as `X_umap`
        can lie where no cell is.
    key
        `key_added` of :func:`saescape.tl.gw_map`; None for the default.
    key_added
        Name used in place of `gw` in every slot below; None for that of the coupling.
    {copy}

    Returns
    -------
    None, or a changed copy of `adata` with `copy=True`. Sets the following fields:

    `adata.obs['gw_{column}' | key_added + '_{column}']` : :class:`pandas.Series` (dtype `category` or `float64`)
        Label with the largest share, with the categories of the reference; or the mean (of booleans: the share of
        True).
    `adata.obs['gw_{column}_prob' | key_added + '_{column}_prob']` : :class:`pandas.Series` (dtype `float32`)
        For labels, the share of this label among the mass that has one.
    `adata.obs['gw_{column}_sd' | key_added + '_{column}_sd']` : :class:`pandas.Series` (dtype `float64`)
        For numbers, the SD over the cell's distribution: the spread of its partners, not the error of the mean.
    `adata.uns['gw_{column}_colors' | key_added + '_{column}_colors']` : :class:`numpy.ndarray`
        For labels, the colors of the reference, if it has any.
    `adata.obsm['gw_expression' | key_added + '_expression']` : :class:`pandas.DataFrame` (dtype `float32`)
        Mean expression, genes in columns.
    `adata.obsm['gw_{name}' | key_added + '_{name}']` : :class:`numpy.ndarray` or :class:`pandas.DataFrame`
        Mean row of `adata_ref.obsm[name]`, for each name in `obsm`.
    `adata.uns['gw_transfer' | key_added + '_transfer']` : :class:`dict`
        `transferred` (True), `slots` (table of all slots written by this and earlier calls: `source`, `n_missing`
        cells without a value, `mass`, the share of the coupling that carried a value, and `gw_loss`, `pvalue` and
        `ambiguous` of the coupling), `label_accuracy` (that of :func:`saescape.tl.gw_map`, if it has any: whether
        known labels agree with the coupling more than by chance), `params` of the last call.

    Raises
    ------
    KeyError
        If the coupling, a column, a gene, a layer or a representation does not exist.
    ValueError
        If nothing is asked for, `use_raw` meets a `layer` or there is no `.raw`, cells of the coupling are missing in
        `adata_ref`, names are not unique, values are not finite, a column is empty, a gene has a slash in its name, or
        a result would replace a slot of the coupling.
    TypeError
        For columns that are neither labels nor numbers (such as dates).
    MemoryError
        If the result does not fit.

    Warns
    -----
    SignificanceWarning
        If the coupling is not significant, was not tested or is ambiguous: what is carried over may be wrong then.
    UserWarning
        If cells have no mass in the coupling; they get missing values.

    Notes
    -----
    The stored coupling is used, from which the smallest entries were left out (`dropped_mass`): labels and
    probabilities can differ a little from those of :func:`saescape.tl.gw_map`. Unlike there, cells of the reference
    without a label do not lower the probability.

    Examples
    --------
    >>> import warnings
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.paired(60, 60, n_types=2)
    >>> with warnings.catch_warnings(action="ignore"):  # `n_nulls=0` saves time here and warns
    ...     sae.tl.gw_map(adata, adata_ref, use_rep="X_image", n_nulls=0, show_progress_bar=False, device="cpu")
    ...     sae.tl.gw_transfer(adata, adata_ref, obs=["cell_type", "gradient"], var_names=["gene_0", "gene_1"])
    >>> adata.obs["gw_cell_type"].cat.categories.tolist()
    ['type_0', 'type_1']
    >>> adata.obsm["gw_expression"].columns.tolist()
    ['gene_0', 'gene_1']
    """
    check_adata(adata)
    check_adata(adata_ref, "adata_ref")
    check_copy(adata, copy=copy)
    columns, genes, names = string_list("obs", obs), string_list("var_names", var_names), string_list("obsm", obsm)
    given = {"layer": layer, "use_raw": use_raw or None, "gene_symbols": gene_symbols}
    idle = next((f"{name}={value!r}" for name, value in given.items() if value is not None), None)
    if idle and not genes:
        msg = f"`{idle}` needs `var_names`; for all genes call `sae.get.gw_expression(adata, adata_ref)`."
        raise ValueError(msg)
    if not columns and not genes and not names:
        msg = "Nothing to carry over; give `obs`, `var_names` or `obsm`."
        raise ValueError(msg)
    slashed = next((name for name in genes if "/" in name), None)
    if slashed is not None:
        msg = (
            f"`var_names`: {slashed!r} has a slash, and a table in `.obsm` with such a column cannot be written to "
            "zarr; call `sae.get.gw_expression(adata, adata_ref, var_names)`, or rename it."
        )
        raise ValueError(msg)
    coupling = stored_coupling(adata, adata_ref, key)
    keys = gw_transfer_keys(key, key_added)
    sources = [read_column(adata_ref, column) for column in columns]
    arrays = {name: _obsm_rows(adata_ref, name) for name in names}
    expression = None
    if genes:
        expression = reference_expression(adata_ref, genes, layer, use_raw=use_raw, gene_symbols=gene_symbols)
    _check_slots(coupling, keys, sources, names, genes)
    check_memory(adata.n_obs, sum(rows.n_dims for rows in arrays.values()) + len(genes), "The result")

    from saescape.transport._transfer import barycentric, conditional

    start = logg.info(f"carrying values of {adata_ref.n_obs} reference cells over to {adata.n_obs} cells")
    weights = conditional(coupling.plan)
    results = Transferred(coupling)
    for source in sources:
        _transfer_column(source, weights, keys, results)
    for name, rows in arrays.items():
        values: Any = barycentric(weights, rows)
        if hasattr(adata_ref.obsm[name], "columns"):
            values = pd.DataFrame(values, index=adata.obs_names, columns=adata_ref.obsm[name].columns)
        results.add("obsm", keys.obsm(name), values, f"obsm[{name!r}]")
    if expression is not None:
        table = pd.DataFrame(barycentric(weights, expression), index=adata.obs_names, columns=pd.Index(genes))
        results.add("obsm", keys.expression, table, expression_source(layer, use_raw=use_raw))

    adata = adata.copy() if copy else adata
    params = {
        "obs": np.array(columns, dtype=str) if columns else None,
        "var_names": np.array(genes, dtype=str) if genes else None,
        "layer": layer,
        "use_raw": bool(use_raw),
        "gene_symbols": gene_symbols,
        "obsm": np.array(names, dtype=str) if names else None,
        "key": key,
        "key_added": key_added,
        "version": version("saescape"),
    }
    results.write(adata, keys, params)
    warn_about(coupling)
    added = "".join(f"\n    `.{attr}[{name!r}]`" for attr, name in results.values)
    logg.info("    finished", time=start, deep=f"added{added}\n    `.uns[{keys.uns!r}]`, what came from where")
    return adata if copy else None


def _obsm_rows(adata_ref: AnnData, name: str) -> RowSource:
    data = require_key(adata_ref, "obsm", name, argument="obsm", adata_name="adata_ref")
    rows = RowSource(data, where=f"`adata_ref.obsm[{name!r}]`")
    if rows.n_positions is not None:
        msg = f"{rows.where} must have 2 dimensions, found shape {tuple(rows.data.shape)}; pool the positions first."
        raise ValueError(msg)
    rows.moments()
    return rows


def _check_slots(
    coupling: StoredCoupling,
    keys: GwTransferKeys,
    sources: Sequence[LabelColumn | NumberColumn],
    names: Sequence[str],
    genes: Sequence[str],
) -> None:
    """No result may take the place of another one or of the coupling."""
    taken = {
        ("obs", coupling.keys.confidence): "the confidence of the coupling",
        ("obs", coupling.keys.distortion): "the distortion of the coupling",
        ("obsm", coupling.keys.coupling): "the coupling",
        ("obsm", coupling.keys.projection): "the projection of the coupling",
        ("uns", coupling.keys.uns): "the record of the coupling",
    }
    wanted = [(("uns", keys.uns), "the record of this call")]
    for source in sources:
        second = keys.prob(source.name) if isinstance(source, LabelColumn) else keys.sd(source.name)
        wanted += [(("obs", slot), f"`obs={source.name!r}`") for slot in (keys.obs(source.name), second)]
    wanted += [(("obsm", keys.obsm(name)), f"`obsm={name!r}`") for name in names]
    wanted += [(("obsm", keys.expression), "`var_names`")] if genes else []
    for (attr, slot), what in wanted:
        if (attr, slot) in taken:
            msg = (
                f"{what} would be written to `adata.{attr}[{slot!r}]`, the place of {taken[attr, slot]}; give another "
                "`key_added`, or rename or transfer it on its own."
            )
            raise ValueError(msg)
        taken[attr, slot] = what


def _transfer_column(
    source: LabelColumn | NumberColumn, weights: sparse.csr_matrix, keys: GwTransferKeys, results: Transferred
) -> None:
    from saescape.transport._transfer import transfer_labels, transfer_numbers

    name, origin = source.name, f"obs[{source.name!r}]"
    if isinstance(source, LabelColumn):
        labels = transfer_labels(weights, source.codes, len(source.dtype.categories))
        values = pd.Categorical.from_codes(labels.codes, dtype=source.dtype)
        results.add("obs", keys.obs(name), values, origin, labels.mass)
        results.add("obs", keys.prob(name), labels.prob.astype(np.float32), origin, labels.mass)
        if source.colors is not None:
            results.add("uns", keys.colors(name), source.colors, f"uns['{name}_colors']")
        return
    moments = transfer_numbers(weights, source.values)
    results.add("obs", keys.obs(name), moments.mean, origin, moments.mass)
    if not source.is_bool:
        results.add("obs", keys.sd(name), moments.sd, origin, moments.mass)
