from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import numpy as np

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._keys import gw_keys
from saescape._logging import logg
from saescape._random import as_generator, child_seed, rng_param
from saescape._validate import check_adata, check_choice, check_copy, check_integer, check_real

from ._gw_map_inputs import MIN_CELLS, check_method, read_columns, read_labels, read_metrics, read_rows
from ._gw_map_slots import summary, warn, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from anndata import AnnData

    from saescape._typing import Rng

_METHODS = ("auto", "pot")
_EPSILON = 0.1


@doc_params
def gw_map(
    adata: AnnData,
    adata_ref: AnnData,
    *,
    obs: str | Sequence[str] | None = None,
    use_rep: str | None = "X_sae",
    use_rep_ref: str | None = "X_pca",
    metric: str | Sequence[str] | None = None,
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
    coupling, so the result comes with what is needed to judge it: the same search on unrelated clouds of the same kind
    (`pvalue`), the other optima it could as well have been (`ambiguous`) and, where both objects have the labels, a
    test of those (`label_accuracy`).

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
        `"cosine"` (chord of the rows scaled to unit length). Several metrics are averaged in the loss. None takes
        cosine and geodesic, and geodesic alone with `method="pot"`.
    method
        `"auto"`: search on a coreset, refinement and extension to all cells, with memory linear in the cells.
        `"pot"`: the dense entropic solver of POT :cite:p:`Flamary2021` from the same kinds of starts, for one
        `metric` and at most 3,000 cells on each side; slow, for comparison.
    epsilon
        Entropic regularisation in units of the SD of the pairwise distances; None for 0.1. Smaller is sharper and
        slower, and needs more starts.
    n_landmarks
        Points of each side on which the coupling is solved before it is extended to all cells; None for 1,000.
        Only for `method="auto"`.
    n_starts
        Initial couplings to try.
    n_nulls
        Unrelated clouds of each of two kinds, for each side, that the search is repeated on: four times this many
        searches. The smallest possible p-value is ``1 / (1 + n_nulls)``; 0 leaves the test out, with a warning.
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
    `adata.obs['gw_{column}' | key_added + '_{column}']` : :class:`pandas.Series` (dtype `category`)
        Transferred label, for each column in `obs`: the one with the largest transported mass.
    `adata.obs['gw_{column}_prob' | key_added + '_{column}_prob']` : :class:`pandas.Series` (dtype `float32`)
        Share of the cell's mass that goes to this label.
    `adata.obs['gw_confidence' | key_added + '_confidence']` : :class:`pandas.Series` (dtype `float32`)
        One minus the entropy of the cell's distribution over reference cells divided by ``log(n_ref)``: 0 for no
        preference, 1 for a single partner. High confidence in a wrong map is possible: see `pvalue` and `ambiguous`.
    `adata.uns['gw_map' | key_added]` : :class:`dict`
        `gw_loss` (``2 (1 - r)`` with r the correlation of the two modalities' distances under the coupling: 0 for an
        isometry up to scale, 2 for no relation), `starts` and `optima` (loss of every start and of the best distinct
        optima, and their agreement, the correlation of barycentric projections, with the chosen one), `ambiguous`,
        `pvalue`, `null_observed` (the loss that is compared with the nulls, on the same coreset), `null_loss`
        `(n_nulls,)` (of the kind of null with the largest p-value), `nulls` (a table of all four kinds: the side that
        was replaced and by what), `label_accuracy` (for columns that `adata.obs` has too: balanced accuracy, accuracy,
        chance, and the p-value of the balanced accuracy when the reference's label names are exchanged),
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
        If the p-value is above .05 or not computed, or the coupling is ambiguous. The message also names the labels
        known on both sides that agree with the coupling more than by chance.
    ConvergenceWarning
        If losses or marginals have not settled.

    Notes
    -----
    *Test.* Both sides are reduced to at most 400 cells and a coreset of 64 points, and searched as the data are. One
    side is then replaced by an unrelated cloud of the same kind: its image under a random smooth function with its
    density drawn anew (clusters stay clusters, branches stay branches, their arrangement, lengths and sizes are
    chance), or a normal cloud; both with its variances along the principal axes. With each kind and side the p-value
    is ``(1 + #{null_loss <= null_observed}) / (1 + n_nulls)``; the largest of the four is reported.

    A small p-value is weak evidence where both sides have only a handful of clusters or branches: two such shapes are
    often nearly alike by chance, and half of 20 unrelated simulated pairs came out below all of 9 nulls. Of 26
    unrelated pairs of real data sets, larger trees and normal clouds 2 did; but of 16 further simulated trees with 5 or
    8 branches 6 did (1.6 expected), and 2 of these were not ambiguous either.

    A large p-value does not say that the map is wrong. Shapes with few clusters or branches match unrelated shapes of
    the same kind as well as they match themselves measured in another modality, and then no statistic of the distances
    can tell: simulated pairs of trees with five branches (:func:`saescape.datasets.paired`) come out alike whether
    related or not. What decides in such data is what the coupling has not seen, such as labels known on both sides:
    the p-value in `label_accuracy` is the share of all assignments of the reference's label names (9,999 drawn ones
    beyond 7 labels) with a balanced accuracy as high. It needs at least four labels to be below .05, and types that are
    common on both sides meet more easily than others.

    *Ambiguity.* The coupling is ambiguous when another optimum agrees with it by less than 0.8 and its loss is higher
    by no more than 0.05 (0.025 in the correlation of distances), or ``1 / sqrt(n)`` when the smaller side has fewer
    than 400 cells: sampling alone moves the loss by about as much.

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
    columns = read_columns(obs)
    check_choice("method", method, _METHODS)
    metrics = read_metrics(metric, method)
    epsilon = _EPSILON if epsilon is None else check_real("epsilon", epsilon)
    n_starts = check_integer("n_starts", n_starts)
    n_nulls = check_integer("n_nulls", n_nulls, 0)
    largest = max(adata.n_obs, adata_ref.n_obs)
    if n_neighbors is not None:
        n_neighbors = check_integer("n_neighbors", n_neighbors, 1, min(adata.n_obs, adata_ref.n_obs) - 1)
    if n_landmarks is not None:
        n_landmarks = check_integer("n_landmarks", n_landmarks, MIN_CELLS, largest)
    check_method(method, metrics, n_landmarks, adata.n_obs, adata_ref.n_obs)
    if not adata_ref.obs_names.is_unique:
        msg = "`adata_ref.obs_names` are not unique; run `adata_ref.obs_names_make_unique()` first."
        raise ValueError(msg)
    labels = [read_labels(adata_ref, column) for column in columns]
    x = read_rows(adata, use_rep, "adata", "use_rep")
    y = read_rows(adata_ref, use_rep_ref, "adata_ref", "use_rep_ref")
    resolved = resolve_device(device)

    from tqdm.auto import tqdm

    from saescape.transport._align import Settings, align, align_pot
    from saescape.transport._significance import NULLS, is_ambiguous, null_test

    generator = as_generator(rng)
    # separate streams: the number of nulls does not change the coupling
    seed_align, seed_null, seed_names = (child_seed(generator) for _ in range(3))
    settings = Settings(metrics, n_neighbors, epsilon, n_starts, n_landmarks, resolved)
    start = logg.info(f"mapping {adata.n_obs} cells on {adata_ref.n_obs} by Gromov-Wasserstein transport")
    targets = [y, *(label.one_hot for label in labels)]
    adata = adata.copy() if copy else adata
    n_steps = len(NULLS) * n_nulls + (4 if method == "auto" else 1 + n_starts)
    with tqdm(total=n_steps, desc="gw_map", disable=not show_progress_bar) as bar:
        solver = align if method == "auto" else align_pot
        alignment = solver(x, y, settings, targets, np.random.default_rng(seed_align), lambda: bar.update())
        nulls = null_test(x, y, settings, n_nulls, np.random.default_rng(seed_null), lambda: bar.update())

    ambiguous = is_ambiguous(alignment.optima, min(adata.n_obs, adata_ref.n_obs))
    result = summary(alignment, nulls, ambiguous=ambiguous)
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
    write(adata, keys, alignment, labels, result, np.random.default_rng(seed_names))
    warn(alignment, nulls, epsilon, result.get("label_accuracy"), ambiguous=ambiguous)
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
