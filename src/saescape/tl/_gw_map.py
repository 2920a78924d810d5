from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import numpy as np

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._keys import gw_keys
from saescape._logging import logg
from saescape._random import as_generator, child_seed, rng_param
from saescape._validate import check_adata, check_choice, check_copy, check_integer, check_real, string_list

from ._gw_map_batches import read_batches, refit_without_batches, warn_of_batches
from ._gw_map_inputs import (
    MIN_CELLS,
    check_method,
    describe,
    read_columns,
    read_dense_rows,
    read_labels,
    read_metrics,
    read_rows,
)
from ._gw_map_joint import describe_joint, read_alpha, read_joint, read_penalty
from ._gw_map_scale import advance, check_map_memory, describe_scale
from ._gw_map_slots import log_links, summary, warn, write

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
    joint_obs: str | Sequence[str] | None = None,
    alpha: float | None = None,
    unbalanced: float | tuple[float | None, float | None] | None = None,
    batch_key: str | None = None,
    batch_key_ref: str | None = None,
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
        Key of `adata.obsm` (`(n_obs, n_dims)`, dense or sparse; wide sparse ones stay sparse); None for `.X`.
    use_rep_ref
        Key of `adata_ref.obsm`; None for `.X`.
    metric
        Distance within each modality: `"geodesic"` (shortest paths on the nearest-neighbor graph of the rows scaled to
        unit length, its components joined by their shortest links), `"euclidean"` (of the rows as they are),
        `"cosine"` (chord of the rows scaled to unit length) or `"diffusion"` (on the same graph, of random walks of 1
        to 100 steps with the cells' density taken out :cite:p:`Coifman2006,Haghverdi2016`). Several metrics are
        averaged in the loss. None takes cosine and geodesic, and geodesic alone with `method="pot"`.
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
        Unrelated clouds of each of three kinds, for each side, that the search is repeated on: six times this many
        searches. The smallest possible p-value is ``1 / (1 + n_nulls)``; 0 leaves the test out, with a warning.
    n_neighbors
        Neighbors in the graph of geodesics and diffusion; None for 30, or a sixth of the cells (at least 5) when fewer.
    joint_obs
        Column or columns that both `.obs` have, to supervise the map weakly: cells with different labels (categories,
        text, booleans) or distant numbers are kept apart; make numbers that are names (such as cluster ids) categories
        first. Cells without a value, or with a label that the other side lacks, are free. What the map then says of
        these columns is no independent evidence.
    alpha
        Weight of the structure, in [0, 1], and one minus that of the columns in `joint_obs`; None for 0.5.
    unbalanced
        Price of marginals that deviate from one and the same mass for every cell, in units of the loss: one number or
        two, for `adata` and `adata_ref` (None or inf: fixed, the default). Small is more relaxed; start with 1. Only
        where the same populations are known to have other frequencies on the two sides: see Notes. Not for
        `method="pot"`.
    batch_key
        Column of `adata.obs` with the unit of independence (plate, donor, well). The map is refitted without each
        batch in turn. Distances are not corrected for batches: see Notes.
    batch_key_ref
        The same for `adata_ref.obs`. None looks for `batch_key` on both sides, and uses it where it is.
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
        Share of the cell's mass that goes to this label. Not the chance that it is right: a wrong map has high shares
        too.
    `adata.obs['gw_confidence' | key_added + '_confidence']` : :class:`pandas.Series` (dtype `float32`)
        One minus the entropy of the cell's distribution over reference cells divided by ``log(n_ref)``: 0 for no
        preference, 1 for a single partner. High confidence in a wrong map is possible: see `pvalue` and `ambiguous`.
        Cells that have no counterpart can have high confidence as well: see the next slot.
    `adata.obs['gw_distortion' | key_added + '_distortion']` : :class:`pandas.Series` (dtype `float32`)
        How badly the cell's distances to all others are kept, in units of `gw_loss`, which is the mean over the cells
        (weighted by their mass): 0 if all are kept, 2 is the mean if distances are unrelated, no upper limit. High
        for cells that are unlike everything in the reference: see Notes.
    `adata.obs['gw_mass' | key_added + '_mass']` : :class:`pandas.Series` (dtype `float32`)
        With `unbalanced`: mass of the cell in the coupling, in units of that of an average cell.
    `adata.uns['gw_map' | key_added]` : :class:`dict`
        `gw_loss` (``2 (1 - r)`` with r the correlation of the two modalities' distances under the coupling: 0 for an
        isometry up to scale, 2 for no relation), `starts` and `optima` (loss of every start and of the best distinct
        optima, and their agreement, the correlation of barycentric projections, with the chosen one), `ambiguous`,
        `pvalue`, `null_observed` (the loss that is compared with the nulls, on the same coreset), `null_loss`
        `(n_nulls,)` (of the kind of null with the largest p-value), `nulls` (a table of all six: the side that
        was replaced and by what), `label_accuracy` (for columns that `adata.obs` has too: balanced accuracy, accuracy,
        chance, the p-value of the balanced accuracy when the reference's label names are exchanged, and `used`, whether
        the column was in `joint_obs`, which leaves no p-value), `joint_cost` (with `joint_obs`: mean cost of coupled
        cells, in SD over all pairs; 0 for no preference, negative for agreement),
        `marginal_error` (L1, both sides), `dropped_mass`, `converged`, `n_links` (links added to connect the two
        graphs), `ref_names`, `params`. With `batch_key` also `batches`, a row for each batch left out (more than 20 of
        a side are left out in 20 random groups): its `side`, name and number of cells, the `loss` without it, the
        `agreement` of the map without it with the map of all cells (correlation of barycentric projections, over the
        cells of `adata` that both have; of optima with about the same loss, the highest), `random_agreement`, the same
        without as many random cells instead, and for each column in `obs` `same_{column}`, the share of these cells
        with the same label. NaN where fewer than 4 cells are left.

    Raises
    ------
    KeyError
        If a representation or a column does not exist.
    TypeError
        If a column in `joint_obs` is of numbers on one side only, or an argument is of the wrong type.
    MemoryError
        If the map needs more memory than there is.
    ValueError
        For columns in `joint_obs` that are constant or share fewer than two labels, `alpha` without `joint_obs`, values
        out of range, fewer than 4 cells, constant or non-finite representations, three-dimensional representations,
        duplicated names in `adata_ref`, or, for `method="pot"`, too many cells, `unbalanced`, or an `epsilon` too small
        for POT.

    Warns
    -----
    SignificanceWarning
        If the p-value is above .05 or not computed, or the coupling is ambiguous. The message also names the labels
        known on both sides that agree with the coupling more than by chance. Also if the map is
        another one (agreement below 0.8) without some batches, more often than without random cells, or in most refits
        of both kinds.
    ConvergenceWarning
        If losses or marginals have not settled.

    Notes
    -----
    *Test.* Both sides are reduced to at most 800 cells and a coreset of 64 points, and searched as the data are; the
    loss is the median of five such draws. One side is then replaced by an unrelated cloud of the same kind: its image
    under a random smooth function with its density drawn anew (clusters stay clusters, branches stay branches, their
    arrangement, lengths and sizes are chance), a normal cloud (both with its variances along the principal axes), or
    its own pieces in another arrangement: 4 to 8 k-means clusters, hung together as in the shortest tree through their
    centres and each turned at random where it meets the next. With each kind and side the p-value is
    ``(1 + #{null_loss <= null_observed}) / (1 + n_nulls)``; the largest of the six is reported.

    Of 54 unrelated pairs of 250 cells (trees, clusters, curves, surfaces, normal clouds, real data sets) 4 came out
    below all of 9 nulls, where 5.4 are expected; before the five draws 12 of 108 did, among them 5 of 16 trees with
    five branches. A small p-value is weak evidence where both sides have only a handful of branches or clusters: such
    shapes are often nearly alike by chance.

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

    *Batches.* The refits without a batch use at most 800 cells of each side, as the test does, in which every batch has
    its share. Nothing is corrected: offsets between batches are distances like all others, and large ones make the map
    one of batches. Remove them beforehand, by a method that allows for batches that differ in composition; means taken
    off each batch do not. :func:`saescape.get.coupling_df` shows how much of the mass goes from batch to batch, but
    nothing tells whether the batches differ in their cells or in their measurement.

    *Distortion.* With the costs x and y of the two sides at mean 0 and SD 1, cell i has
    ``sum_j P(j|i) sum_kl P_kl (x_ik - y_jl)^2``, the mean over the metrics. In simulations it was high for cells of a
    population far from what the reference has (10 % of the cells), whose `gw_confidence` was often higher than that of
    the others. It tells much less if the population is one between others, and hardly which labels are wrong.

    *Labels.* Labels in `adata.obs` are never used for the coupling, only to report an accuracy, unless they are in
    `joint_obs`. Then the fused objective :cite:p:`Vayer2019` ``alpha * gw_loss + (1 - alpha) * joint_cost`` is
    minimised. The cost of each column has mean 0 and SD 1 over the pairs of cells with a value; several are averaged.
    `pvalue` remains a test of `gw_loss`, given the labels: cells of the smooth clouds keep theirs, points of the normal
    clouds have random ones.

    *Marginals.* With `unbalanced`, ``rho * KL(marginal | uniform)`` is added for each side to a loss whose correlation
    is taken under the plan's own marginals; the total mass remains one :cite:p:`Chizat2018,Sejourne2021`. The test uses
    the same price. This helps where frequencies differ, and the value matters little between 0.3 and 3: in six
    simulated pairs with reversed frequencies 35 % of the cells got their type, instead of 27 %. It hurts where they do
    not differ (77 % instead of 86 % in four pairs), because good matches of parts win over matches of the whole, and
    where one side lacks a population (43 % instead of 53 % in five pairs). With both sides relaxed, cells of such a
    population do *not* get less mass. With `unbalanced=(1, None)` they did in five simulated pairs with one more type
    (area under the ROC curve of `gw_mass` .97), less clearly where a type had been removed (.69), and at
    `(0.5, None)` not in 3 of 7 pairs: `gw_mass` alone does not tell who has no partner.

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
    penalty = read_penalty(unbalanced, method)
    alpha = read_alpha(alpha, joint_obs)
    joint = read_joint(adata, adata_ref, joint_obs)
    joint_columns = string_list("joint_obs", joint_obs)
    batches = read_batches(adata, adata_ref, batch_key, batch_key_ref)
    x = read_rows(adata, use_rep, "adata", "use_rep")
    # what is carried over is as wide as the reference and dense
    y = read_dense_rows(adata_ref, use_rep_ref, "adata_ref", "use_rep_ref")
    targets = [y, *(label.one_hot for label in labels)]
    check_map_memory(x, y, targets, method)
    resolved = resolve_device(device)

    from tqdm.auto import tqdm

    from saescape.transport._align import Settings, align, align_pot
    from saescape.transport._batches import FullMap
    from saescape.transport._significance import NULLS, is_ambiguous, null_test

    generator = as_generator(rng)
    # separate streams: the number of nulls does not change the coupling
    seed_align, seed_null, seed_names, seed_batches = (child_seed(generator) for _ in range(4))
    settings = Settings(metrics, n_neighbors, epsilon, n_starts, n_landmarks, resolved, alpha, penalty)
    start = logg.info(f"mapping {adata.n_obs} cells on {adata_ref.n_obs} by Gromov-Wasserstein transport")
    relaxed = bool(np.isfinite(penalty).any())
    describe(x, y, metrics, relaxed=relaxed)
    describe_joint(joint_columns, alpha, penalty)
    describe_scale(adata.n_obs, adata_ref.n_obs, n_landmarks, method)
    adata = adata.copy() if copy else adata
    n_steps = len(NULLS) * n_nulls + (4 if method == "auto" else 1 + n_starts) + batches.n_refits()
    with tqdm(total=n_steps, desc="gw_map", disable=not show_progress_bar) as bar:
        solver = align if method == "auto" else align_pot
        alignment = solver(x, y, settings, targets, np.random.default_rng(seed_align), advance(bar), joint)
        nulls = null_test(
            x, y, settings, n_nulls, np.random.default_rng(seed_null), lambda: bar.update(), batches.codes, joint
        )
        full = FullMap((x, y), targets, alignment.readout.projections, settings, joint)
        refits = refit_without_batches(full, batches, labels, np.random.default_rng(seed_batches), bar.update)

    log_links(alignment.n_links)
    ambiguous = is_ambiguous(alignment.optima, min(adata.n_obs, adata_ref.n_obs))
    result = summary(alignment, nulls, ambiguous=ambiguous)
    if joint is not None:
        result["joint_cost"] = alignment.joint_cost
    if refits is not None:
        result["batches"] = refits
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
        "joint_obs": np.array(joint_columns, dtype=str) if joint_columns else None,
        "alpha": alpha,
        "unbalanced": np.array(penalty) if np.isfinite(penalty).any() else None,
        "batch_key": batch_key,
        "batch_key_ref": batch_key_ref,
        "rng": rng_param(rng),
        "version": version("saescape"),
    }
    keys = gw_keys(key_added)
    write(adata, keys, alignment, labels, result, np.random.default_rng(seed_names), used=joint_columns, mass=relaxed)
    warn_of_batches(refits)
    warn(alignment, nulls, epsilon, result.get("label_accuracy"), ambiguous=ambiguous)
    logg.info(
        "    finished",
        time=start,
        deep=(
            f"added\n    `.obsm[{keys.coupling!r}]`, transport plan\n    `.obsm[{keys.projection!r}]`, barycentric"
            f" projection\n    `.obs[{keys.confidence!r}]`\n    `.obs[{keys.distortion!r}]`"
            + "".join(f"\n    `.obs[{keys.label(c)!r}]`, transferred labels" for c in columns)
            + (f"\n    `.obs[{keys.mass!r}]`, mass" if relaxed else "")
            + f"\n    `.uns[{keys.uns!r}]`, loss, p-value, ambiguity"
        ),
    )
    return adata if copy else None
