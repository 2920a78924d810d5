from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._keys import representations_key, sae_keys
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._rep import fitted_representation, get_representation
from saescape._validate import check_adata, check_copy, check_integer, missing_key, require_key
from saescape._warnings import SignificanceWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from saescape._rep import Representation
    from saescape._rows import RowSource
    from saescape._typing import IntArray, Rng
    from saescape.representations._compare import Space

# widths that differ by more than this are hard to compare
_WIDE = 4


@doc_params
def compare_representations(
    adata: AnnData,
    use_reps: str | Sequence[str],
    obs_keys: str | Sequence[str],
    *,
    groupby: str | None = None,
    batch_key: str | None = None,
    n_neighbors: int | Sequence[int] = (5, 10, 15, 20, 25),
    n_perms: int = 200,
    dims: int | None | Sequence[int | None] = None,
    baselines: bool = True,
    key: str | None = None,
    rng: Rng = 0,
    key_added: str | None = None,
    show_progress_bar: bool = True,
    copy: bool = False,
) -> AnnData | None:
    r"""Compare how well representations of the same cells organise phenotypes, each against its permutation null.

    Parameters
    ----------
    {adata}
    use_reps
        Keys of `.obsm` to compare, 2-D or 3-D tokens (positions are averaged); `"X"` stands for `.X`.
    obs_keys
        Columns of `.obs`: numbers, or labels (categories, strings, booleans). Cells where a column is missing are left
        out for it; `n_obs` says how many are used.
    groupby
        Column of `.obs`: statistics are computed within each group, too (neighbours are of the same group then). The
        group `"all"` has all cells.
    batch_key
        Column of `.obs` with the unit of independence (plate, donor, well). Phenotypes are permuted within batches
        only, and predictions are made for batches that were held out. If a phenotype is constant within every batch
        (a patient's diagnosis), whole batches exchange their values instead, and the batches are the sample.
    n_neighbors
        Numbers of neighbours `k`, from 2 to below the number of cells.
    n_perms
        Permutations.
    dims
        Reduce wider representations to this many principal components, so that representations of different width can
        be compared. None takes them as they are. A sequence, such as `(None, 32)`, does each; see `n_dims` in the
        results.
    baselines
        Add what costs no training, from the representation that the autoencoder under `key` was fitted on, if its codes
        are in `use_reps`, else from the first of `use_reps`: the representation itself, its rows divided by their norm
        (`(L2)`), its whitened principal components, at most 256 (`(whitened)`), and :math:`\max(0, xR)` with random
        directions :math:`R`, as wide as the widest of `use_reps` up to 2,048, position by position before pooling
        (`(random ReLU)`).
    key
        `key_added` of :func:`saescape.tl.sae_fit` to take the representation of the baselines from; None for the
        default, if there is one.
    {rng}
    {key_added}
    {show_progress_bar}
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following field:

    `adata.uns['compare_representations' | key_added]` : :class:`dict`
        `results`, a table with one row per representation (`rep`, and whether it is a `baseline`), `obs_key`, `group`,
        `statistic` and `k`: `value`; `null_mean` and `null_sd` over `n_perms` permutations; `z`, the distance to the
        null's mean in standard deviations; `ratio`, the value divided by the null's mean, for statistics with a natural
        zero; one-sided `pvalue` and `padj`; `n_dims` used, `n_obs` and what was `permuted` (`cells`, `batches` or
        `none`). `rep_other` and `n_dims_other` are about the second representation of `knn_overlap`. And `params`.

    Raises
    ------
    KeyError
        If a representation, a column or the autoencoder under `key` is missing.
    ValueError
        If a phenotype does not vary or has a different label in every cell, a representation has non-finite values, or
        no group has more cells than the largest `k`.
    TypeError
        If a phenotype is neither numbers nor labels.

    Warns
    -----
    SignificanceWarning
        When groups are left out because they are too small or a phenotype does not vary there, when whole batches had
        to be permuted, and when a phenotype cannot be told from the batches (`batch_key` equals it: null and p-value
        are NaN).

    Notes
    -----
    With `z` the standardised phenotype and :math:`N_k(i)` the `k` nearest other cells (Euclidean distance), for numbers

    `morans_i`
        :math:`\frac{1}{nk} \sum_i z_i \sum_{j \in N_k(i)} z_j`: high when organised, :math:`-1/(n-1)` by chance.
    `gearys_c`
        :math:`\frac{n-1}{2n^2k} \sum_i \sum_{j \in N_k(i)} (z_i - z_j)^2`: low when organised, 1 by chance.
    `local_sd_ratio`
        Mean over cells of :math:`\mathrm{SD}(z_j : j \in N_k(i))` (ddof 0): low when organised. Chance is below 1 and
        depends on `k` and on the share of zeros: read `ratio`.
    `knn_r2`, `ridge_r2`
        R2 of predicted values: mean of the neighbours, and ridge regression on cells held out. By chance about
        :math:`-1/k`, and slightly below 0.

    for labels

    `neighbor_purity`
        Share of neighbours with the cell's label (a join count); by chance the sum of squared shares of the labels.
    `knn_accuracy`, `probe_accuracy`
        Balanced accuracy of the neighbours' vote, and of linear discriminant analysis on cells held out; by chance
        about 1 / number of labels.

    and between representations `knn_overlap`, the share of common neighbours, ``k / (n - 1)`` by chance.

    *Held out* are whole batches in at most five folds with `batch_key` (neighbours that predict come from other folds,
    too), else cells in five folds. Linear readouts use at most 256 principal components.

    *p-values* are ``(1 + number of permutations as extreme) / (1 + n_perms)``, never below ``1 / (1 + n_perms)``;
    `padj` is adjusted for all tests of the same statistic and `k` (Benjamini-Hochberg). They are right when cells are
    exchangeable within batches. Cells of one plate are seldom independent of each other: without `batch_key`, a
    phenotype and a representation that both merely differ between plates are "significant". Graph and folds are made
    once; only the phenotype is permuted. Votes, discriminant analysis and overlaps are permuted less often (at least 99
    times, unless `n_perms` is smaller) when there are many cells: see `n_perms` in the results.

    *A small p says that the phenotype is not spread at random, not that one representation is better than another.* The
    same permutations are used for all representations, but a permuted phenotype is organised by neither of two: this
    null cannot test their difference. Repeat over seeds, donors or data sets and compare pairs. Look at the baselines,
    and at equal `n_dims`: distances depend on the number of dimensions.

    Results do not depend on the order of cells. Up to 50,000 cells neighbours are exact.

    References
    ----------
    Moran (1950), *Notes on continuous stochastic phenomena*; Geary (1954), *The contiguity ratio and statistical
    mapping*; Golub, Heath & Wahba (1979) for the penalty of the ridge; Phipson & Smyth (2010), *Permutation p-values
    should never be zero*; Benjamini & Hochberg (1995).

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", max_epochs=20, show_progress_bar=False)
    >>> sae.tl.compare_representations(
    ...     adata, ["X_sae", "X_pca"], "n_genes", n_neighbors=10, n_perms=20, baselines=False, show_progress_bar=False
    ... )
    >>> results = adata.uns["compare_representations"]["results"]
    >>> results.loc[results["statistic"] == "morans_i", ["rep", "k", "n_obs", "pvalue"]].round(3)
         rep   k  n_obs  pvalue
    0  X_sae  10    700   0.048
    5  X_pca  10    700   0.048
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    slot = representations_key(key_added)
    reps = {name: _representation(adata, name) for name in _names("use_reps", use_reps)}
    columns = _names("obs_keys", obs_keys)
    n_perms = check_integer("n_perms", n_perms)
    ks = _neighbors(n_neighbors, adata.n_obs)
    reductions = _dims(dims)
    if key_added is not None and isinstance(adata.uns.get(key_added), dict) and "weights" in adata.uns[key_added]:
        msg = f"`key_added={key_added!r}` would overwrite the fitted sparse autoencoder; choose another name."
        raise ValueError(msg)
    from saescape.representations._compare import compare
    from saescape.representations._phenotype import as_phenotype
    from saescape.representations._plan import make_plan

    seed = rng_param(rng)
    order_rng, plan_rng, baseline_rng, kernel_rng = as_generator(rng).spawn(4)
    # ties between equal distances are broken at random, but in the same way however cells are stored
    order = np.argsort(np.asarray(adata.obs_names, dtype=str), kind="stable")[order_rng.permutation(adata.n_obs)]
    phenotypes = [
        as_phenotype(name, require_key(adata, "obs", name, argument="obs_keys").iloc[order]) for name in columns
    ]
    batch_of = _batches(adata, batch_key)
    groups = _groups(adata, groupby, order)
    base_name, base = _base(adata, reps, key) if baselines else (None, None)
    for representation in [*reps.values(), *([base] if base else [])]:
        representation.rows.moments()
    plan = make_plan(
        groups,
        phenotypes,
        None if batch_of is None else batch_of[order],
        batch_key=batch_key,
        max_k=ks[-1],
        n_perms=n_perms,
        rng=plan_rng,
    )
    if not any(cells.measured for cells in plan.cells):
        msg = f"Nothing can be measured: {' '.join(plan.messages)}"
        raise ValueError(msg)
    for message in plan.messages:
        warnings.warn(message, SignificanceWarning, stacklevel=2)

    adata = adata.copy() if copy else adata
    start = logg.info("comparing representations")
    for name, n_dropped in plan.n_dropped.items():
        if n_dropped:
            logg.info(
                f"    {name!r} is missing for {n_dropped} of {adata.n_obs} observations, which are left out for it"
            )
    widths = [representation.rows.n_dims for representation in reps.values()]
    if reductions == [None] and max(widths) > _WIDE * min(widths):
        logg.hint(
            f"representations have {min(widths)} to {max(widths)} dimensions, which distances depend on; compare them "
            f"at equal width, too, with `dims=(None, {min(widths)})`."
        )
    spaces = _spaces(reps, base_name, base.rows if base else None, baseline_rng)
    from tqdm.auto import tqdm

    n_steps = len(spaces) * len(reductions) * len(plan.cells)
    with tqdm(total=n_steps, desc="compare", unit="graph", disable=not show_progress_bar) as progress:
        results = compare(spaces, plan, ks, reductions, order, rng=kernel_rng, progress=progress)
    adata.uns[slot] = {
        "results": results,
        "params": {
            "use_reps": list(reps),
            "obs_keys": columns,
            "groupby": groupby,
            "batch_key": batch_key,
            "n_neighbors": np.array(ks),
            "n_perms": n_perms,
            # 0 stands for "as they are"
            "dims": np.array([wanted or 0 for wanted in reductions]),
            "baselines": baselines,
            "base": base_name,
            "key": key,
            "rng": seed,
            "version": version("saescape"),
        },
    }
    logg.info(
        "    finished",
        time=start,
        deep=f"added\n    `.uns[{slot!r}]`, {len(results)} statistics of {len(spaces)} representations",
    )
    return adata if copy else None


def _names(argument: str, value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else list(value)
    if not names or not all(isinstance(name, str) for name in names):
        msg = f"`{argument}` must be a name or a sequence of at least one name, found {value!r}."
        raise TypeError(msg) if names else ValueError(msg)
    return list(dict.fromkeys(names))


def _representation(adata: AnnData, name: str) -> Representation:
    if name == "X" and name not in adata.obsm:
        return get_representation(adata)
    if name not in adata.obsm:
        raise missing_key(name, "adata.obsm", adata.obsm.keys(), argument="use_reps")
    return get_representation(adata, name, use_rep_name="use_reps")


def _neighbors(value: int | Sequence[int], n_obs: int) -> list[int]:
    ks: list[Any] = list(value) if isinstance(value, list | tuple | np.ndarray | range) else [value]
    if not ks:
        msg = "`n_neighbors` must have at least one number."
        raise ValueError(msg)
    if n_obs < 3:
        msg = f"At least 3 observations are needed to compare neighbours, found {n_obs}."
        raise ValueError(msg)
    return sorted({check_integer("n_neighbors", k, 2, n_obs - 1, high_name="n_obs - 1") for k in ks})


def _dims(value: Any) -> list[int | None]:
    wanted = list(value) if isinstance(value, list | tuple | np.ndarray) else [value]
    if not wanted:
        msg = "`dims` must be None, a number or a sequence of at least one of them."
        raise ValueError(msg)
    return list(dict.fromkeys(None if width is None else check_integer("dims", width) for width in wanted))


def _batches(adata: AnnData, batch_key: str | None) -> IntArray | None:
    if batch_key is None:
        return None
    values = require_key(adata, "obs", batch_key, argument="batch_key")
    if values.isna().any():
        msg = f"`batch_key={batch_key!r}` is missing for {int(values.isna().sum())} observations."
        raise ValueError(msg)
    batches = np.unique(np.asarray(values.astype(str), dtype=str), return_inverse=True)[1].ravel()
    if len(values) and batches.max() + 1 == len(values):
        msg = f"`batch_key={batch_key!r}` has a single observation in every batch; nothing can be permuted."
        raise ValueError(msg)
    return batches.astype(np.int64)


def _groups(adata: AnnData, groupby: str | None, order: IntArray) -> dict[str, IntArray]:
    """Rows of each group, counted in `order`."""
    groups = {"all": np.arange(adata.n_obs)}
    if groupby is None:
        return groups
    values = pd.Categorical(require_key(adata, "obs", groupby, argument="groupby").iloc[order])
    for code, name in enumerate(values.categories):
        if str(name) in groups:
            msg = f"`groupby={groupby!r}` has a group {str(name)!r}, which is the name for all cells; rename it."
            raise ValueError(msg)
        rows = np.flatnonzero(values.codes == code)
        if len(rows):
            groups[str(name)] = rows
    return groups


def _base(adata: AnnData, reps: dict[str, Representation], key: str | None) -> tuple[str, Representation]:
    """The representation that baselines are made from, and its name."""
    slots = sae_keys(key)
    first = next(iter(reps))
    if key is None and (slots.obsm not in reps or slots.uns not in adata.uns):
        return first, reps[first]
    fit = require_key(adata, "uns", slots.uns, argument=None if key is None else "key")
    if not hasattr(fit, "keys") or "params" not in fit:
        msg = f"`adata.uns[{slots.uns!r}]` holds no fit; run `sae.tl.sae_fit(adata)` first to create it."
        raise KeyError(msg)
    name = fit["params"].get("use_rep") or fit["params"].get("layer") or "X"
    return name, fitted_representation(adata, fit)


def _spaces(
    reps: dict[str, Representation], base_name: str | None, base: RowSource | None, rng: np.random.Generator
) -> list[Space]:
    from functools import partial

    from saescape.representations import _baselines as simple
    from saescape.representations._compare import Space

    spaces = [Space(name, partial(simple.pooled, rep.rows), baseline=False) for name, rep in reps.items()]
    if base is None or base_name is None:
        return spaces
    if base_name not in reps:
        spaces.append(Space(base_name, partial(simple.pooled, base)))
    width = min(simple.MAX_WIDTH, max(rep.rows.n_dims for rep in reps.values()))
    whiten_rng, relu_rng = rng.spawn(2)
    return [
        *spaces,
        Space(f"{base_name} (L2)", lambda: simple.unit_rows(simple.pooled(base))),
        Space(f"{base_name} (whitened)", partial(simple.whitened, base, whiten_rng), ordered=True),
        Space(f"{base_name} (random ReLU)", partial(simple.random_relu, base, width, relu_rng)),
    ]
