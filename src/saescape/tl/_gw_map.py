from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._keys import gw_keys
from saescape._logging import logg
from saescape._random import as_generator, child_seed, rng_param
from saescape._rep import get_representation
from saescape._validate import check_adata, check_choice, check_copy, check_integer, check_real, require_key
from saescape._warnings import ConvergenceWarning, SignificanceWarning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import torch
    from anndata import AnnData

    from saescape._keys import GwKeys
    from saescape._typing import FloatArray, IntArray, Rng
    from saescape.transport._align import Alignment
    from saescape.transport._significance import NullTest

_METRICS = ("geodesic", "euclidean", "cosine")
_METHODS = ("auto", "pot")
_EPSILON = 0.1
_MIN_CELLS = 4
_POT_MAX_CELLS = 3000
_MAX_MARGINAL_ERROR = 0.05


@doc_params
def gw_map(
    adata: AnnData,
    adata_ref: AnnData,
    *,
    obs: str | Sequence[str] | None = None,
    use_rep: str | None = "X_sae",
    use_rep_ref: str | None = "X_pca",
    metric: str | Sequence[str] = "geodesic",
    method: Literal["auto", "pot"] = "auto",
    epsilon: float | None = None,
    n_landmarks: int | None = None,
    n_starts: int = 8,
    n_nulls: int = 20,
    n_neighbors: int | None = None,
    rng: Rng = 0,
    device: str | torch.device | None = None,
    key_added: str | None = None,
    show_progress_bar: bool = True,
    copy: bool = False,
) -> AnnData | None:
    r"""Map cells onto cells of another modality by Gromov-Wasserstein transport :cite:p:`Memoli2011,Peyre2016`.

    The two objects share no variables and no cells: only the distances within each are compared. There is always a
    coupling, so the result comes with what is needed to judge it: the same search on references whose structure was
    destroyed (`pvalue`), and the other optima it could as well have been (`ambiguous`).

    Parameters
    ----------
    {adata}
    adata_ref
        Cells to map on, such as single-cell RNA. Never changed.
    obs
        Column or columns of `adata_ref.obs` with labels to transfer.
    use_rep
        Key of `adata.obsm` (`(n_obs, n_dims)`, dense or sparse); None for `.X`.
    use_rep_ref
        Key of `adata_ref.obsm`; None for `.X`.
    metric
        Distance within each modality: `"geodesic"` (shortest paths on the nearest-neighbor graph of the rows scaled to
        unit length, its components joined by their shortest links), `"euclidean"` (of the rows as they are) or
        `"cosine"` (chord of the rows scaled to unit length). Several metrics are averaged in the loss.
    method
        `"auto"`: search on a coreset, refinement and extension to all cells, with memory linear in the cells.
        `"pot"`: the dense entropic solver of POT :cite:p:`Flamary2021` from the same kinds of starts, for one metric
        and at most 3,000 cells on each side; slow, for comparison.
    epsilon
        Entropic regularisation in units of the SD of the pairwise distances; None for 0.1. Smaller is sharper and
        slower, and needs more starts.
    n_landmarks
        Points of each side on which the coupling is solved before it is extended to all cells; None for 1,000.
        Only for `method="auto"`.
    n_starts
        Initial couplings to try.
    n_nulls
        Destroyed references, and as many destroyed copies of `adata`'s representation, that the search is repeated
        on. The smallest possible p-value is ``1 / (1 + n_nulls)``; 0 leaves the test out, with a warning.
    n_neighbors
        Neighbors in the graph of `metric="geodesic"`; None for 30, or a sixth of the cells (at least 5) when fewer.
    {rng}
    {device}
    key_added
        Name used in place of `gw` in every slot below, and of `gw_map` in `.uns`.
    {show_progress_bar}
    {copy}

    Returns
    -------
    None, or a changed copy of `adata` with `copy=True`. Sets the following fields:

    `adata.obsm['gw_coupling' | key_added + '_coupling']` : :class:`scipy.sparse.csr_matrix` (dtype `float32`)
        Transport plan `(n_obs, n_ref)`; all entries sum to one. The smallest entries are left out (`dropped_mass`) and
        the marginals corrected.
    `adata.obsm['X_gw' | 'X_' + key_added]` : :class:`numpy.ndarray` (dtype `float32`)
        Barycentric projection: each cell's expected row of `use_rep_ref`.
    `adata.obs['gw_{{column}}' | key_added + '_{{column}}']` : :class:`pandas.Series` (dtype `category`)
        Transferred label, for each column in `obs`: the one with the largest transported mass.
    `adata.obs['gw_{{column}}_prob' | key_added + '_{{column}}_prob']` : :class:`pandas.Series` (dtype `float32`)
        Share of the cell's mass that goes to this label.
    `adata.obs['gw_confidence' | key_added + '_confidence']` : :class:`pandas.Series` (dtype `float32`)
        One minus the entropy of the cell's distribution over reference cells divided by ``log(n_ref)``: 0 for no
        preference, 1 for a single partner. High confidence in a wrong map is possible: see `pvalue` and `ambiguous`.
    `adata.uns['gw_map' | key_added]` : :class:`dict`
        `gw_loss` (``2 (1 - r)`` with r the correlation of the two modalities' distances under the coupling: 0 for an
        isometry up to scale, 2 for no relation), `starts` and `optima` (loss of every start and of the best distinct
        optima, and their agreement, the correlation of barycentric projections, with the chosen one), `ambiguous`,
        `pvalue`, `null_observed` (the loss that is compared with the nulls, on the same coreset), `null_loss`
        `(n_nulls,)` (of the side whose destruction gives the larger p-value), `nulls` (a table of both sides),
        `label_accuracy` (balanced accuracy and chance, for columns that `adata.obs` has too),
        `marginal_error` (L1, both sides), `dropped_mass`, `converged`, `n_links` (links added to connect the two
        graphs), `ref_names`, `params`.

    Raises
    ------
    KeyError
        If a representation or a column does not exist.
    ValueError
        For values out of range, fewer than 4 cells, constant or non-finite representations, three-dimensional
        representations, duplicated names in `adata_ref`, or too many cells for `method="pot"`.

    Warns
    -----
    SignificanceWarning
        If the p-value is above .05 or not computed, or the coupling is ambiguous.
    ConvergenceWarning
        If losses or marginals have not settled.

    Notes
    -----
    *Test.* Both sides are reduced to at most 500 cells and a coreset, and searched as the data are. A null keeps the
    clusters of one side (their shapes) and the second moments of their centres, and draws their arrangement
    and their sizes anew: as clustered and as anisotropic as the data, but unrelated. The p-value is
    ``(1 + #{{null_loss <= null_observed}}) / (1 + n_nulls)``, the larger of the two obtained by destroying either side.
    Data that are related but so simple in shape that unrelated data match as well do not come out significant.
    The reverse is a known limit: clusters drawn anew are not continuous, so that two unrelated data sets that are both
    smooth trajectories with a few branches can come out significant.

    *Ambiguity.* The coupling is ambiguous when another optimum agrees with it by less than 0.8 and its loss is higher
    by no more than half the SD of the null losses (of 0.1 without nulls): chance alone moves the loss by more.

    Labels in `adata.obs` are never used for the coupling, only to report an accuracy.

    Examples
    --------
    >>> import warnings
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.paired(80, 80)
    >>> with warnings.catch_warnings(action="ignore"):  # `n_nulls=0` saves time here and warns
    ...     sae.tl.gw_map(
    ...         adata, adata_ref, obs="cell_type", use_rep="X_image", n_nulls=0, show_progress_bar=False, device="cpu"
    ...     )
    >>> adata.obsm["gw_coupling"].shape
    (80, 80)
    >>> adata.obs["gw_cell_type"].dtype.name
    'category'
    """
    check_adata(adata)
    check_adata(adata_ref, "adata_ref")
    check_copy(adata, copy=copy)
    columns = _columns(obs)
    metrics = _metrics(metric)
    check_choice("method", method, _METHODS)
    epsilon = _EPSILON if epsilon is None else check_real("epsilon", epsilon)
    n_starts = check_integer("n_starts", n_starts)
    n_nulls = check_integer("n_nulls", n_nulls, 0)
    largest = max(adata.n_obs, adata_ref.n_obs)
    if n_neighbors is not None:
        n_neighbors = check_integer("n_neighbors", n_neighbors, 1, min(adata.n_obs, adata_ref.n_obs) - 1)
    if n_landmarks is not None:
        n_landmarks = check_integer("n_landmarks", n_landmarks, _MIN_CELLS, largest)
    _check_method(method, metrics, n_landmarks, adata.n_obs, adata_ref.n_obs)
    if not adata_ref.obs_names.is_unique:
        msg = "`adata_ref.obs_names` are not unique; run `adata_ref.obs_names_make_unique()` first."
        raise ValueError(msg)
    labels = [_labels(adata_ref, column) for column in columns]
    x = _rows(adata, use_rep, "adata", "use_rep")
    y = _rows(adata_ref, use_rep_ref, "adata_ref", "use_rep_ref")
    resolved = resolve_device(device)

    from tqdm.auto import tqdm

    from saescape.transport._align import Settings, align, align_pot
    from saescape.transport._significance import null_test

    generator = as_generator(rng)
    # separate streams: the number of nulls does not change the coupling
    seed_align, seed_null = child_seed(generator), child_seed(generator)
    settings = Settings(metrics, n_neighbors, epsilon, n_starts, n_landmarks, resolved)
    start = logg.info(f"mapping {adata.n_obs} cells on {adata_ref.n_obs} by Gromov-Wasserstein transport")
    targets = [y, *(label.one_hot for label in labels)]
    adata = adata.copy() if copy else adata
    n_steps = 2 * n_nulls + (4 if method == "auto" else 1 + n_starts)
    with tqdm(total=n_steps, desc="gw_map", disable=not show_progress_bar) as bar:
        solver = align if method == "auto" else align_pot
        alignment = solver(x, y, settings, targets, np.random.default_rng(seed_align), lambda: bar.update())
        nulls = null_test(x, y, settings, n_nulls, np.random.default_rng(seed_null), lambda: bar.update())

    ambiguous = nulls.is_ambiguous(alignment.optima)
    result = _summary(alignment, nulls, ambiguous=ambiguous)
    result["ref_names"] = np.asarray(adata_ref.obs_names, dtype=str)
    result["params"] = {
        "use_rep": use_rep,
        "use_rep_ref": use_rep_ref,
        "obs": np.array(columns, dtype=str) if columns else None,
        "metric": metrics[0] if len(metrics) == 1 else np.array(metrics),
        "method": method,
        "epsilon": epsilon,
        "n_landmarks": n_landmarks,
        "n_starts": n_starts,
        "n_nulls": n_nulls,
        "n_neighbors": n_neighbors,
        "rng": rng_param(rng),
        "version": version("saescape"),
    }
    keys = gw_keys(key_added)
    _write(adata, keys, alignment, labels, result)
    _warn(alignment, nulls, epsilon, ambiguous=ambiguous)
    logg.info(
        "    finished",
        time=start,
        deep=(
            f"added\n    `.obsm[{keys.coupling!r}]`, transport plan\n    `.obsm[{keys.projection!r}]`, barycentric"
            f" projection\n    `.obs[{keys.confidence!r}]`"
            + "".join(f"\n    `.obs[{keys.label(c)!r}]`, transferred labels" for c in columns)
            + f"\n    `.uns[{keys.uns!r}]`, loss, p-value, ambiguity"
        ),
    )
    return adata if copy else None


@dataclass(frozen=True)
class _Labels:
    column: str
    categories: pd.Index
    one_hot: FloatArray


def _columns(obs: str | Sequence[str] | None) -> list[str]:
    columns = [obs] if isinstance(obs, str) else list(obs or [])
    if len(set(columns)) < len(columns):
        msg = f"`obs` names a column twice: {columns}."
        raise ValueError(msg)
    return columns


def _metrics(metric: str | Sequence[str]) -> tuple[str, ...]:
    metrics = (metric,) if isinstance(metric, str) else tuple(metric)
    if not metrics or len(set(metrics)) < len(metrics):
        msg = f"`metric` must name at least one metric and none twice, found {list(metrics)}."
        raise ValueError(msg)
    for name in metrics:
        check_choice("metric", name, _METRICS)
    return metrics


def _check_method(method: str, metrics: tuple[str, ...], n_landmarks: int | None, n: int, m: int) -> None:
    for name, size in (("adata", n), ("adata_ref", m)):
        if size < _MIN_CELLS:
            msg = f"`{name}` must have at least {_MIN_CELLS} observations, found {size}."
            raise ValueError(msg)
    if method != "pot":
        return
    if len(metrics) > 1:
        msg = f"`method='pot'` takes one `metric`, found {list(metrics)}."
        raise ValueError(msg)
    if n_landmarks is not None:
        msg = "`n_landmarks` is for `method='auto'`; `method='pot'` always couples all cells."
        raise ValueError(msg)
    if max(n, m) > _POT_MAX_CELLS:
        from saescape.transport._pot import dense_bytes

        gib = dense_bytes(n, m) / 2**30
        msg = (
            f"`method='pot'` holds dense matrices and takes at most {_POT_MAX_CELLS:,} cells on each side, found {n:,} "
            f"and {m:,} (about {gib:.1f} GiB); use `method='auto'` or a subsample."
        )
        raise ValueError(msg)


def _labels(adata_ref: AnnData, column: str) -> _Labels:
    values = require_key(adata_ref, "obs", column, argument="obs", adata_name="adata_ref")
    if is_float_dtype(values.dtype):
        msg = (
            f"`obs={column!r}`: `adata_ref.obs[{column!r}]` is continuous; labels must be categories, text or integers."
        )
        raise ValueError(msg)
    categorical = pd.Categorical(values.astype(str).where(values.notna()))
    if len(categorical.categories) == 0:
        msg = f"`obs={column!r}`: `adata_ref.obs[{column!r}]` has no label."
        raise ValueError(msg)
    codes: IntArray = np.asarray(categorical.codes)
    one_hot = (codes[:, None] == np.arange(len(categorical.categories))).astype(np.float32)
    return _Labels(column, categorical.categories, one_hot)


def _rows(adata: AnnData, use_rep: str | None, adata_name: str, argument: str) -> FloatArray:
    rows = get_representation(adata, use_rep, use_rep_name=argument, adata_name=adata_name).rows
    if rows.n_positions is not None:
        msg = f"{rows.where} must have 2 dimensions, found shape {tuple(rows.data.shape)}; pool the positions first."
        raise ValueError(msg)
    _, variance = rows.moments()
    if not variance.max(initial=0) > 0:
        msg = f"{rows.where} is constant: all distances are zero."
        raise ValueError(msg)
    return rows.read_all()


def _summary(alignment: Alignment, nulls: NullTest, *, ambiguous: bool) -> dict[str, Any]:
    tables = {}
    for name, starts in (("starts", alignment.starts), ("optima", alignment.optima)):
        tables[name] = pd.DataFrame(
            {"start": starts.kinds, "loss": starts.loss, "agreement": starts.agreement},
            index=[str(i) for i in range(len(starts.kinds))],
        )
    return {
        "gw_loss": alignment.loss,
        **tables,
        "ambiguous": bool(ambiguous),
        "pvalue": nulls.pvalue,
        "null_loss": nulls.deciding_loss,
        "nulls": pd.DataFrame(
            dict(zip(("reference_destroyed", "query_destroyed"), nulls.null_loss, strict=True)),
            index=[str(i) for i in range(nulls.null_loss.shape[1])],
        ),
        "null_observed": nulls.loss,
        "marginal_error": alignment.readout.marginal_error,
        "dropped_mass": alignment.readout.dropped_mass,
        "converged": bool(alignment.converged),
        "n_links": np.array(alignment.n_links),
    }


def _write(adata: AnnData, keys: GwKeys, alignment: Alignment, labels: list[_Labels], result: dict[str, Any]) -> None:
    from saescape.metrics import label_transfer_accuracy

    projection, *mass = alignment.readout.projections
    accuracy: dict[str, dict[str, float]] = {}
    columns: dict[str, Any] = {keys.confidence: alignment.readout.confidence}
    for label, share in zip(labels, mass, strict=True):
        winner = np.where(share.max(1) > 0, share.argmax(1), -1)
        predicted = pd.Categorical.from_codes(winner, categories=label.categories)
        columns[keys.label(label.column)] = predicted
        columns[keys.label_prob(label.column)] = share.max(1).astype(np.float32)
        if label.column in adata.obs and adata.obs[label.column].notna().any():
            truth = adata.obs[label.column]
            accuracy[label.column] = {
                "balanced_accuracy": label_transfer_accuracy(truth, predicted),
                "accuracy": label_transfer_accuracy(truth, predicted, balanced=False),
                "chance": 1 / truth.nunique(),
            }
    if accuracy:
        result["label_accuracy"] = pd.DataFrame.from_dict(accuracy, orient="index")
    adata.obsm[keys.coupling] = alignment.readout.coupling
    adata.obsm[keys.projection] = projection
    for name, values in columns.items():
        adata.obs[name] = values
    adata.uns[keys.uns] = result


def _warn(alignment: Alignment, nulls: NullTest, epsilon: float, *, ambiguous: bool) -> None:
    error = alignment.readout.marginal_error
    if not alignment.converged or error > _MAX_MARGINAL_ERROR:
        msg = (
            f"The coupling has not settled (loss {alignment.loss:.4g}, marginal error {error:.2g}); "
            f"raise `epsilon` ({epsilon:g})."
        )
        warnings.warn(msg, ConvergenceWarning, stacklevel=3)
    reasons = []
    if len(nulls.deciding_loss) == 0:
        reasons.append("its significance was not tested (`n_nulls=0`)")
    elif nulls.pvalue > 0.05:
        reasons.append(f"unrelated data align as well (p = {nulls.pvalue:.2g}, `n_nulls={len(nulls.deciding_loss)}`)")
    if ambiguous:
        reasons.append("another optimum with about the same loss disagrees with it (`ambiguous`)")
    if reasons:
        msg = f"Labels transferred through this coupling may be wrong: {' and '.join(reasons)}."
        warnings.warn(msg, SignificanceWarning, stacklevel=3)
