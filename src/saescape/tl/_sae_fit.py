from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._keys import sae_keys
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._rep import get_representation
from saescape._store import StoredSae, decoder_loadings, write_slots
from saescape._typing import Inference
from saescape._validate import check_adata, check_choice, check_copy, check_integer, require_key

if TYPE_CHECKING:
    from os import PathLike

    from anndata import AnnData

    from saescape._typing import Architecture, BoolArray, IntArray, Rng, Standardize


@doc_params
def sae_fit(
    adata: AnnData,
    n_features: int | None = None,
    *,
    use_rep: str | None = None,
    layer: str | None = None,
    mask_var: BoolArray | str | None = None,
    architecture: Architecture = "topk",
    k: int | None = None,
    l0_target: int | None = None,
    l1_coef: float | None = None,
    standardize: Standardize = "center",
    max_epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    early_stopping: bool = True,
    inference: Inference | None = None,
    batch_key: str | None = None,
    checkpoint: str | PathLike[str] | None = None,
    devices: int = 1,
    num_nodes: int = 1,
    rng: Rng = 0,
    device: str | None = None,
    key_added: str | None = None,
    show_progress_bar: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Learn sparse features of a representation.

    A sparse autoencoder writes each row as a non-negative combination of a few directions of a learned dictionary,
    ``x_hat = z @ W_dec + b_dec``. With 3-D tokens every position is encoded alone and codes are averaged
    per observation, never the reverse: averaged embeddings cannot be taken apart any more.

    Parameters
    ----------
    {adata}
    n_features
        Size of the dictionary. None takes the smallest power of two of at least eight times the dimensions, at most a
        tenth of the rows (or three times the dimensions that hold most of the variance, by the participation ratio of
        their variances, where that is more and at most a quarter of the rows), at least 16. Two to four times the
        number of features expected is enough.
    {use_rep}
    {layer}
    mask_var
        Boolean mask over the variables, or the column of `.var` that holds it, to fit on some variables only.
        Not together with `use_rep`.
    architecture
        How the active features are chosen, see Notes. `"topk"`: `k` per row (fewer when fewer are positive);
        `"batchtopk"`: `k` per row on average, for cells that differ in complexity; `"matryoshka"`: the same, with
        nested parts of the dictionary that each reconstruct on their own, when a hierarchy is wanted; `"jumprelu"`: a
        learned threshold per feature; `"gated"` and `"relu"`: a penalty on the size of the codes.
    k
        Number of active features per row. None lets a pilot run (at most 1,120 steps of 256 rows) look
        for the number that describes held-out rows in the fewest bits (residual and list of active features together),
        up to a rule: 16 up to 256 dimensions and 32 above, at most a third of the dimensions and a twelfth of
        `n_features`. Without a minimum below it the rule is taken, or, when one feature has the shortest description,
        the geometric mean of two and the rule. A larger `k` always reconstructs better, but from somewhat above the
        true number on it finds worse features.
    l0_target
        Another name of `k`: the penalty of `"gated"`, `"jumprelu"` and `"relu"` is tuned during training so that this
        many features are active per row.
    l1_coef
        Fixed weight of that penalty instead, relative to the squared error of standardised rows (of `"jumprelu"`, of
        its penalty on the number of active features). Not together with `k` or `l0_target`.
    standardize
        `"center"`: subtract the mean and divide by one scale; `"zscore"`: divide each dimension by its standard
        deviation; `"none"`: neither. Folded into the stored weights, which act on raw data.
    max_epochs
        Passes over the training rows. None takes at least 1,000 steps and two passes, and half a million rows unless
        these are more than 200 passes.
    batch_size
        Rows per training step. None takes 256 below 10,000 rows, and 512 to 2,048 above such that about 1,000
        steps are taken.
    lr
        Peak learning rate of Adam. None takes ``5e-3 sqrt(batch_size / 512) sqrt(1024 / n_features)``, at most 1e-2.
    early_stopping
        End training, after letting the learning rate go down, when neither the error of training nor that of held-out
        rows gets smaller; never before 1,000 steps and half a million rows (or 200 passes).
    inference
        How rows become codes once the dictionary is learned, see :func:`saescape.tl.sae_transform`. `"encoder"`: by the
        encoder. `"fista"`, `"omp"`: by sparse inference, with the penalty tuned so that `k` features are active on
        average; with `"omp"` and `k` None, with the penalty that describes rows in the fewest bits. None takes
        `"omp"` for 3-D tokens when `k`, `l0_target` and `l1_coef` are None, and `"encoder"` otherwise: codes of tokens
        are averaged, and what the encoder loses on each of them (a linear encoder with a threshold cannot find the best
        code) distorts distances between cells.
    batch_key
        Column of `.obs` with the unit of independence (plate, donor, well). Whole groups are held out then instead of
        single observations, and the error of each group is reported.
    checkpoint
        File for the state of the run, written every 30 seconds and at the end. When it exists, the run goes on from
        there, and ends with the same weights as if it had never been interrupted. It must belong to the same data and
        settings.
    devices
        Processes on this machine that share the rows of every batch, each with a GPU of its own or, on CPU, a share of
        the cores; more than one needs the extra `cluster`. The result is that of one process but for rounding, whose
        differences grow with the number of steps. New processes are started for the training alone and get a copy of
        the data, which cannot be an open HDF5 file then. Under torchrun or srun the processes that run the script are
        used: each ends with the same result, and the first one (rank 0) should save it.
    num_nodes
        Machines, each with as many `devices`; more than one only under torchrun or srun.
    {rng}
    {device}
    {key_added}
    {show_progress_bar}
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields:

    `adata.obsm['X_sae' | key_added]` : :class:`scipy.sparse.csr_matrix` (dtype `float32`)
        Codes `(n_obs, n_features)`, non-negative, in the units of the input (with `standardize="zscore"`, of the
        standardised input).
    `adata.uns['sae' | key_added]['weights']` : :class:`dict`
        `W_enc` `(n_dims, n_features)`, `W_dec` `(n_features, n_dims)` with rows of unit length (not with
        `standardize="zscore"`), `b_enc`, `b_dec`; `threshold` per feature with `"batchtopk"`, `"matryoshka"` and
        `"jumprelu"`; `r_mag` and `b_mag` with `"gated"`; all float32.
    `adata.uns['sae' | key_added]['features']` : :class:`pandas.DataFrame`
        One row per feature (`sae_0`, ...): `frac_active`, `mean_active` (where active), `max_activation`, `dead`, and
        `level` (0 for the most general part) with `"matryoshka"`. Rows encoded are counted, that is positions of 3-D
        tokens.
    `adata.uns['sae' | key_added]['history']` : :class:`pandas.DataFrame`
        `step`, `loss`, `fvu`, `l0`, `n_dead`, `lr`, and `fvu_held_out` at some steps.
    `adata.uns['sae' | key_added]['metrics']` : :class:`dict`
        `fvu` (fraction of variance unexplained, held-out rows; with `standardize="zscore"` every dimension counts
        alike), `fvu_train`, `l0`, `l0_share_alive`, `n_dead`, `dead_share`, `n_duplicates` (features whose direction
        has a cosine above .95 with another's), `threshold` (mean over alive features, where there is one),
        `n_features`, `n_train`, `n_held_out` (observations), `n_steps`, `late_gain` (share of the held-out error that
        the last fifth of the steps before the learning rate went down took away); with sparse inference also
        `fvu_encoder` and `l0_encoder`, of the codes that the encoder gives.
    `adata.uns['sae' | key_added]['groups']` : :class:`pandas.DataFrame`
        With `batch_key`: `n_obs`, `fvu`, `held_out` of each group.
    `adata.uns['sae' | key_added]['inputs']` : :class:`pandas.DataFrame`
        Of each input dimension: `variance` in held-out rows, and `explained_variance`, the share of it that the codes
        explain (NaN for constant dimensions).
    `adata.uns['sae' | key_added]['pilot']` : :class:`pandas.DataFrame`
        With `k` None: `k` tried and `bits` per row.
    `adata.uns['sae' | key_added]['params']` : :class:`dict`
        Every argument that changes the result, with defaults filled in; `k_from` (`"given"`, `"pilot"` or `"rule"`);
        `inference`, `penalty`, `n_atoms` and `used` (mask of the features that sparse inference may use), by which
        :func:`saescape.tl.sae_transform` codes new data in the same way.
    `adata.uns['sae' | key_added]['input_names']` : :class:`numpy.ndarray`
        Names of the input dimensions.
    `adata.varm['sae_decoder' | key_added]` : :class:`numpy.ndarray` (dtype `float32`)
        Feature directions in units of the variables `(n_vars, n_features)`: when fitted on `.X` or a layer (0 outside
        `mask_var`), on tokens of the variables, or on `X_pca` with `.varm['PCs']`.

    Raises
    ------
    KeyError
        When `use_rep`, `layer`, `batch_key` or the column `mask_var` does not exist.
    ImportError
        When more than one process is wanted and Lightning is not installed.
    ValueError
        For non-finite data, too few rows, settings that do not fit together, a checkpoint of another run, and training
        that diverges (a checkpoint keeps the last good state); for more devices than there are, processes that do not
        match `devices` and `num_nodes`, and data that cannot be sent to new processes.

    Warns
    -----
    saescape._warnings.ConvergenceWarning
        When held-out data are reconstructed no better than by their mean, when the last fifth of the steps before the
        learning rate went down still took away a fifth of the held-out error, or when a penalty could not be tuned.
    saescape._warnings.SignificanceWarning
        When more than 10 % of the alive features are active per row, or are near duplicates.

    Notes
    -----
    TopK and the auxiliary loss for dead features: Gao et al. (arXiv 2406.04093), section 2.3 and appendix A.2.
    BatchTopK: Bussmann et al. (arXiv 2412.06410). Matryoshka: Bussmann et al. (arXiv 2503.17547), prefixes of a
    sixteenth, an eighth, a quarter and all features. JumpReLU: Rajamanoharan et al. (arXiv 2407.14435), equations 11
    and 12. Gated: Rajamanoharan et al. (arXiv 2404.16014), equations 6 to 8. ReLU: Bricken et al. (2023).
    A tenth of the observations (at most 20,000 rows) is never trained on. Data larger than 512 MiB as float32 that are
    sparse, on disk or lazy are read by blocks.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", show_progress_bar=False)
    >>> adata.obsm["X_sae"].shape
    (700, 64)
    >>> bool(adata.uns["sae"]["metrics"]["l0"] <= adata.uns["sae"]["params"]["k"])
    True
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    settings: dict[str, Any] = {
        "n_features": n_features,
        "k": k,
        "l0_target": l0_target,
        "l1_coef": l1_coef,
        "architecture": architecture,
        "standardize": standardize,
        "max_epochs": max_epochs,
        "batch_size": batch_size,
        "lr": lr,
        "early_stopping": early_stopping,
    }
    check_choice("inference", inference, (None, *get_args(Inference)))
    check_integer("devices", devices)
    check_integer("num_nodes", num_nodes)
    rep = get_representation(adata, use_rep, layer, mask_var=mask_var)
    if key_added is not None and key_added == use_rep:
        msg = f"`key_added={key_added!r}` would overwrite the representation that is fitted; choose another name."
        raise ValueError(msg)
    labels = None if batch_key is None else _group_labels(adata, batch_key)

    from saescape.sae._checkpoint import Checkpoint
    from saescape.sae._data import hold_out_observations
    from saescape.sae._defaults import PENALISED, effective_dims, make_plan
    from saescape.sae._fit import fit_rows
    from saescape.sae._launch import find_processes
    from saescape.sae._report import held_out_groups, input_table, warn_about, warn_unconverged

    rows = rep.rows
    make_plan(rows.n_rows, rows.n_dims, **settings)
    torch_device = resolve_device(device)
    processes = find_processes(devices, num_nodes, torch_device)
    communicator = processes.connect(torch_device)
    kept = None if checkpoint is None else Checkpoint(checkpoint)
    moments = rows.moments()
    generator = as_generator(rng)
    if kept is not None and rng is None:
        kept.adopt_generator(generator)
    generator.bit_generator.state = communicator.share(generator.bit_generator.state)
    rng_state = generator.bit_generator.state
    n_positions = rows.n_positions or 1
    codes = None if labels is None else labels.codes.astype(np.int64)
    held_out = hold_out_observations(rows.n_obs, n_positions, rows.n_dims, generator, codes)
    n_train, effective = int((~held_out).sum()) * n_positions, effective_dims(moments[1], standardize)
    plan = make_plan(rows.n_rows, rows.n_dims, n_train=n_train, effective=effective, **settings)
    processes.check_batch_size(plan.batch_size)
    if kept is not None:
        data = {"n_rows": rows.n_rows, "n_dims": rows.n_dims, "mean": moments[0], "variance": moments[1]}
        kept.identify(**asdict(plan), **data, batch_key=batch_key, rng=rng_state)

    adata = adata.copy() if copy else adata
    start = logg.info(
        f"fitting sparse autoencoder ({architecture}, {plan.n_features} features, "
        f"k={'to be chosen' if plan.choose_k else plan.k}) on {rows.where}"
    )
    fit = fit_rows(
        rows,
        plan,
        moments,
        held_out,
        rng=generator,
        device=communicator.device or torch_device,
        groups=codes,
        show_progress_bar=show_progress_bar,
        checkpoint=kept,
        communicator=communicator,
        n_spawned=processes.to_spawn,
        inference=_resolve_inference(inference, tokens=rows.n_positions is not None and plan.choose_k),
    )
    params = {
        "use_rep": use_rep,
        "layer": layer,
        "mask_var": mask_var if mask_var is None or isinstance(mask_var, str) else np.asarray(mask_var),
        "architecture": architecture,
        "n_features": plan.n_features,
        "k": fit.plan.k,
        "k_from": "given" if fit.pilot is None else "pilot" if fit.plan.k_found else "rule",
        "l1_coef": plan.l1_coef,
        "standardize": standardize,
        "max_epochs": max_epochs,
        "n_steps": plan.n_steps,
        "batch_size": plan.batch_size,
        "lr": plan.lr,
        "early_stopping": early_stopping,
        "batch_key": batch_key,
        "rng": rng_param(rng),
        **fit.rule.params(),
    }
    groups = None if labels is None else _group_table(labels, held_out, fit.encoded)
    inputs = input_table(fit.encoded, held_out_groups(fit.encoded, held_out, codes), rep.names)
    stored = StoredSae(
        fit.weights, params, rep.names, fit.metrics, fit.history, fit.features, groups, fit.pilot, inputs
    )
    text = write_slots(adata, sae_keys(key_added), stored, fit.encoded.codes, decoder_loadings(adata, rep, fit.weights))
    warn_unconverged(fit.n_unconverged, fit.encoded.n_rows)
    warn_about(fit.metrics, fit.plan, penalised=architecture in PENALISED and fit.rule.penalty is None)
    logg.info("    finished", time=start, deep=text)
    return adata if copy else None


def _resolve_inference(inference: Inference | None, *, tokens: bool) -> Inference:
    """Codes of tokens are pooled, so that errors of coding matter more than time."""
    return inference or ("omp" if tokens else "encoder")


def _group_labels(adata: AnnData, batch_key: str) -> pd.Categorical:
    column = require_key(adata, "obs", batch_key, argument="batch_key")
    if column.isna().any():
        msg = f"`adata.obs[{batch_key!r}]` has {int(column.isna().sum())} missing values; each row needs a group."
        raise ValueError(msg)
    labels = pd.Categorical(column.astype(str))
    if len(labels.categories) < 2:
        msg = f"`batch_key={batch_key!r}` needs at least two groups to hold one out, found {list(labels.categories)}."
        raise ValueError(msg)
    return labels


def _group_table(labels: pd.Categorical, held_out: BoolArray, encoded: Any) -> pd.DataFrame:
    codes: IntArray = labels.codes
    n_groups = len(labels.categories)
    return pd.DataFrame(
        {
            "n_obs": np.bincount(codes, minlength=n_groups),
            "fvu": [encoded.fvu(np.arange(n_groups) == group) for group in range(n_groups)],
            "held_out": np.bincount(codes, weights=held_out, minlength=n_groups) > 0,
        },
        index=np.asarray(labels.categories, dtype=str),
    )
