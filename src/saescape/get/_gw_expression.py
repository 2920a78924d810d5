from __future__ import annotations

from copy import deepcopy
from importlib.metadata import version
from typing import TYPE_CHECKING

from anndata import AnnData

from saescape._docs import doc_params
from saescape._keys import gw_transfer_keys
from saescape._memory import check_memory
from saescape._validate import check_adata, string_list
from saescape.coupling._expression import genes_of, reference_expression
from saescape.coupling._stored import stored_coupling, warn_about
from saescape.coupling._transferred import label_record, record

if TYPE_CHECKING:
    from collections.abc import Sequence


@doc_params
def gw_expression(
    adata: AnnData,
    adata_ref: AnnData,
    var_names: str | Sequence[str] | None = None,
    *,
    layer: str | None = None,
    use_raw: bool = False,
    gene_symbols: str | None = None,
    key: str | None = None,
) -> AnnData:
    r"""Expression carried over from the reference through a stored coupling, as a new AnnData with genes as variables.

    :math:`X_{ig} = \sum_j P_{ij} Y_{jg} / \sum_j P_{ij}` with :math:`P` the coupling and :math:`Y` the expression of
    the reference. These are **averages of other cells, not measurements**: see :func:`saescape.tl.gw_transfer`, which
    writes a few genes into `adata` instead.

    Parameters
    ----------
    {adata}
    adata_ref
        The reference of :func:`saescape.tl.gw_map`. Its cells are found by name, in any order; further cells do not
        matter. May be a view or backed; only blocks of its cells are ever dense.
    var_names
        Genes; None for all.
    layer
        Layer of `adata_ref`; None for `.X`.
    use_raw
        Take expression and genes from `adata_ref.raw`, as in :func:`scanpy.get.obs_df`.
    gene_symbols
        Column of `adata_ref.var` (of `adata_ref.raw.var` with `use_raw`) in which `var_names` are looked up; None for
        its index. The variables of the result have the names of the index either way.
    key
        `key_added` of :func:`saescape.tl.gw_map`; None for the default.

    Returns
    -------
    New AnnData: `.X` float32 `(n_obs, n_genes)`, dense; `.obs`, `.obsm` (without the coupling) and `.uns` are copied
    from `adata`, `.var` from `adata_ref`, with the column `transferred` set to True, which survives
    :func:`anndata.concat`. `.uns["gw_transfer"]` (`key + "_transfer"`) has `transferred` (True), `gw_loss`, `pvalue`
    and `ambiguous` of the coupling, its `label_accuracy` if it has any, and `params`. Cells without mass are NaN.
    `.uns["log1p"]` is that of the reference when `.X` or `.raw` is taken.

    Raises
    ------
    KeyError
        If the coupling, a gene, the layer or the column does not exist.
    ValueError
        If cells of the coupling are missing in `adata_ref`, names are not unique or values not finite, or `use_raw`
        meets a `layer` or no `.raw`.
    MemoryError
        If the result does not fit.

    Warns
    -----
    SignificanceWarning
        If the coupling is not significant, was not tested or is ambiguous: what is carried over may be wrong then.
    UserWarning
        If cells have no mass in the coupling.

    Examples
    --------
    >>> import warnings
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.paired(60, 60, n_types=2)
    >>> with warnings.catch_warnings(action="ignore"):  # `n_nulls=0` saves time here and warns
    ...     sae.tl.gw_map(adata, adata_ref, use_rep="X_image", n_nulls=0, show_progress_bar=False, device="cpu")
    ...     expression = sae.get.gw_expression(adata, adata_ref, ["gene_0", "gene_1"])
    >>> expression.shape
    (60, 2)
    >>> bool(expression.var["transferred"].all())
    True
    """
    check_adata(adata)
    check_adata(adata_ref, "adata_ref")
    genes = None if var_names is None else string_list("var_names", var_names)
    if genes is not None and not genes:
        msg = "`var_names` names no gene; give at least one, or None for all."
        raise ValueError(msg)
    coupling = stored_coupling(adata, adata_ref, key)
    rows = reference_expression(adata_ref, genes, layer, use_raw=use_raw, gene_symbols=gene_symbols)
    check_memory(adata.n_obs, rows.n_dims, "The result")

    from saescape.transport._transfer import barycentric, conditional

    expression = barycentric(conditional(coupling.plan), rows)
    var = genes_of(adata_ref, genes, use_raw=use_raw, gene_symbols=gene_symbols)
    var["transferred"] = True
    uns = {name: deepcopy(value) for name, value in adata.uns.items() if name != "log1p"}
    if layer is None and "log1p" in adata_ref.uns:
        uns["log1p"] = deepcopy(adata_ref.uns["log1p"])
    uns[gw_transfer_keys(key).uns] = {
        "transferred": True,
        **record(coupling),
        **label_record(coupling),
        "params": {
            "layer": layer,
            "use_raw": bool(use_raw),
            "gene_symbols": gene_symbols,
            "key": key,
            "version": version("saescape"),
        },
    }
    warn_about(coupling)
    return AnnData(
        expression,
        obs=adata.obs.copy(),
        var=var,
        obsm={name: array.copy() for name, array in adata.obsm.items() if name != coupling.keys.coupling},
        uns=uns,
    )
