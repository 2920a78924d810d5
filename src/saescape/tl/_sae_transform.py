from __future__ import annotations

import warnings
from os import PathLike
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from anndata import AnnData

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._keys import sae_keys
from saescape._logging import logg
from saescape._rep import Representation, get_representation
from saescape._rows import RowSource
from saescape._store import StoredSae, decoder_loadings, from_uns, write_slots
from saescape._store_files import load_file
from saescape._typing import Inference
from saescape._validate import check_adata, check_choice, check_copy, check_real
from saescape._warnings import ConvergenceWarning
from saescape.models import SparseAutoencoder

if TYPE_CHECKING:
    from saescape._typing import FloatArray
    from saescape.sae._infer_rows import Tuned

_L0_TOLERANCE = 0.02


@doc_params
def sae_transform(
    adata: AnnData,
    model: AnnData | SparseAutoencoder | str | PathLike[str],
    *,
    key: str | None = None,
    use_rep: str | None = None,
    layer: str | None = None,
    inference: Inference | None = None,
    l0_target: float | None = None,
    device: str | None = None,
    show_progress_bar: bool = True,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Encode new data with a fitted sparse autoencoder.

    Parameters
    ----------
    {adata}
    model
        An AnnData that :func:`saescape.tl.sae_fit` was run on, a :class:`saescape.models.SparseAutoencoder`, or the
        path of a `.safetensors` file.
    key
        `key_added` of the fit, when `model` is an AnnData.
    use_rep
        Key of `.obsm` to encode; 2-D or 3-D tokens. With `use_rep` and `layer` both None, what the model was fitted on.
    layer
        Key of `.layers` to encode. Not together with `use_rep`.
    inference
        How codes are found. None does what was done for the data of the fit, with the same penalty. `"encoder"`: the
        model's encoder, one product per row. `"fista"`: the minimum of
        ``1/2 ||x - b_dec - z W_dec||^2 + penalty * sum_j z_j ||W_dec_j||`` over non-negative `z`. `"omp"`: orthogonal
        matching pursuit with a non-negative refit, which adds features until none correlates with the residual by more
        than `penalty`. Both use the decoder only and take longer. Their penalty is tuned on up to 16,384 rows so that
        the mean L0 is that of the encoder on the same rows; each row spends as many features as it needs.
    l0_target
        Mean number of active features per row for `"fista"` and `"omp"`, instead of the encoder's.
    {device}
    {show_progress_bar}
    key_added
        Name under which results are stored, used verbatim in every slot listed below. None for `key`.
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields:

    `adata.obsm['X_sae' | key_added]` : :class:`scipy.sparse.csr_matrix` (dtype `float32`)
        Codes `(n_obs, n_features)`, non-negative.
    `adata.uns['sae' | key_added]` : :class:`dict`
        The model, as :func:`saescape.tl.sae_fit` writes it; `features` and `metrics` (`fvu`, `l0`, `l0_share_alive`,
        `n_dead`, `n_features`, `n_obs`) describe the new data, `history` the fit. With sparse inference `metrics` also
        has `fvu_encoder` and `l0_encoder` of the encoder on the same rows, and, where the penalty was tuned to the
        encoder's L0, `amortisation_gap`, which is ``fvu_encoder - fvu``. `params` has `inference`, `penalty` and
        `n_atoms`.
    `adata.varm['sae_decoder' | key_added]` : :class:`numpy.ndarray` (dtype `float32`)
        Feature directions in units of the variables, where they can be expressed so.

    Raises
    ------
    KeyError
        When the representation, or a fitted model in the AnnData `model`, does not exist.
    ValueError
        When the dimensions of the data are not those of the model, by number or by name, and for non-finite data.
        Variables in another order, and additional ones, are no error for a model that was fitted on variables.
        When `l0_target` is given for the encoder, or is not between 0 and the number of features.

    Warns
    -----
    ConvergenceWarning
        When rows did not reach a duality gap of 1e-4 of half their squared length within 2,000 iterations, or when no
        penalty gives the L0 that is wanted to 2 %.

    Notes
    -----
    A linear encoder with a threshold cannot reach the best sparse code in general; what it loses is the amortisation
    gap (O'Neill, Gumran and Klindt, arXiv 2411.13117). FISTA: Beck and Teboulle (2009, doi:10.1137/080716542), with the
    restart of O'Donoghue and Candes (2015, doi:10.1007/s10208-013-9150-3), stopped by the duality gap of Kim et al.
    (2007, doi:10.1109/JSTSP.2007.910971). Matching pursuit: Pati et al. (1993, doi:10.1109/ACSSC.1993.342465) with
    positive correlations and the refit of Lawson and Hanson (1974, doi:10.1137/1.9781611971217, chapter 23).

    The penalty of FISTA also shrinks the codes it keeps, which counts against it in the gap and can make it negative at
    low L0; matching pursuit does not shrink. A row takes at most four times the mean L0 in matching pursuit.
    With `standardize="zscore"` errors are minimised, and `fvu` is measured, in units of the standard deviations of the
    data of the fit.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> train, new = adata[:600].copy(), adata[600:].copy()
    >>> sae.tl.sae_fit(train, 64, use_rep="X_pca", show_progress_bar=False)
    >>> sae.tl.sae_transform(new, train)
    >>> new.obsm["X_sae"].shape
    (100, 64)
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    check_choice("inference", inference, (None, *get_args(Inference)))
    stored = _read_model(model, key)
    _check_l0_target(l0_target, inference, stored.weights.n_features)
    if use_rep is None and layer is None:
        use_rep, layer = stored.params.get("use_rep"), stored.params.get("layer")
    rep = _matching_representation(get_representation(adata, use_rep, layer), adata, stored)
    key_added = key if key_added is None else key_added
    if key_added is not None and key_added == use_rep:
        msg = f"`key_added={key_added!r}` would overwrite the representation that is encoded; choose another name."
        raise ValueError(msg)
    torch_device = resolve_device(device)
    # the check for finite values
    rep.rows.moments()

    from saescape.sae._infer_rows import infer_rows, tune_rule
    from saescape.sae._report import code_metrics, feature_table, warn_unconverged
    from saescape.sae._rule import CodingRule

    adata = adata.copy() if copy else adata
    start = logg.info(f"encoding {rep.rows.where}")
    tuned = None
    rule = CodingRule.from_params(stored.params) if inference is None and l0_target is None else CodingRule()
    if inference in {"fista", "omp"}:
        tuned = tune_rule(rep.rows, stored.weights, torch_device, str(inference), l0_target=l0_target)
        rule = tuned.rule
    inferred = infer_rows(rep.rows, stored.weights, torch_device, rule, show_progress_bar=show_progress_bar)
    encoded = inferred.encoded
    metrics = {"fvu": encoded.fvu(), **code_metrics(encoded), "n_obs": float(rep.rows.n_obs)}
    if rule.penalty is not None:
        metrics |= {"fvu_encoder": inferred.by_encoder.fvu(), "l0_encoder": inferred.by_encoder.l0}
        if tuned is not None and l0_target is None:
            metrics["amortisation_gap"] = inferred.amortisation_gap
        warn_unconverged(inferred.n_unconverged, encoded.n_rows)
        _warn_about(tuned)
    params = stored.params | {"use_rep": use_rep, "layer": layer, **rule.params()}
    weights = stored.weights
    # `mask_var` of the fit has the length of other variables
    params = {name: value for name, value in params.items() if name != "mask_var"} | {"mask_var": None}
    result = StoredSae(weights, params, stored.input_names, metrics, stored.history, feature_table(encoded))
    text = write_slots(adata, sae_keys(key_added), result, encoded.codes, _loadings(adata, rep, stored))
    logg.info("    finished", time=start, deep=text)
    return adata if copy else None


def _read_model(model: Any, key: str | None) -> StoredSae:
    if isinstance(model, AnnData):
        return from_uns(model, key, adata_name="model")
    if isinstance(model, SparseAutoencoder):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(model, msg="`model` is a SparseAutoencoder that is not fitted; call its `fit` first.")
        return model._to_stored()
    if isinstance(model, str | PathLike):
        return load_file(model)
    msg = (
        "`model` must be an AnnData with a fitted sparse autoencoder, a SparseAutoencoder or the path of a file, "
        f"found {type(model).__name__}."
    )
    raise TypeError(msg)


def _check_l0_target(l0_target: float | None, inference: str | None, n_features: int) -> None:
    if l0_target is None:
        return
    if inference not in {"fista", "omp"}:
        msg = "`l0_target` needs `inference='fista'` or `'omp'`; the L0 of the encoder was set when it was fitted."
        raise ValueError(msg)
    check_real("l0_target", l0_target, 0.0, float(n_features))


def _warn_about(tuned: Tuned | None) -> None:
    """Warn when the L0 is not the one asked for (as far as the sample can tell)."""
    if tuned is None or tuned.l0_target is None or tuned.l0_sample is None:
        return
    if abs(tuned.l0_sample - tuned.l0_target) > max(_L0_TOLERANCE * tuned.l0_target, 1 / tuned.n_sample):
        msg = (
            f"No penalty gives {tuned.l0_target:.3g} active features per row; the closest is {tuned.l0_sample:.3g}. "
            "Set `l0_target`: rows of few dimensions, and matching pursuit, have no denser non-negative codes."
        )
        warnings.warn(msg, ConvergenceWarning, stacklevel=3)


def _are_numbered(names: np.ndarray) -> bool:
    """Whether names only count dimensions, as those of an array in `.obsm` do."""
    stems = {str(name).removesuffix(f"_{i}") for i, name in enumerate(names)}
    return len(stems) == 1 and len(names) > 0 and str(names[0]).endswith("_0")


def _matching_representation(rep: Representation, adata: AnnData, stored: StoredSae) -> Representation:
    """The representation with the dimensions of the model, in the model's order."""
    wanted, found = stored.input_names, rep.names
    if np.array_equal(wanted, found):
        return rep
    if rep.on_variables and not _are_numbered(wanted):
        position = adata.var_names.get_indexer(wanted)
        if (position < 0).any():
            missing = [str(name) for name in wanted[position < 0]]
            msg = (
                f"`adata` lacks {len(missing)} of the {len(wanted)} variables that `model` was fitted on, "
                f"the first of them {missing[:5]}."
            )
            raise ValueError(msg)
        return Representation(RowSource(rep.rows.data, columns=position, where=rep.rows.where), wanted, None, rep.layer)
    if len(wanted) != len(found):
        msg = (
            f"`model` was fitted on {len(wanted)} dimensions ({wanted[0]!s}, ...), but {rep.rows.where} has "
            f"{len(found)} ({found[0]!s}, ...)."
        )
        raise ValueError(msg)
    if not (_are_numbered(wanted) or _are_numbered(found)):
        first = int(np.flatnonzero(wanted != found)[0])
        msg = (
            f"Dimensions differ: number {first} is {str(wanted[first])!r} in `model`, but {str(found[first])!r} in "
            f"{rep.rows.where}."
        )
        raise ValueError(msg)
    return rep


def _loadings(adata: AnnData, rep: Representation, stored: StoredSae) -> FloatArray | None:
    if not rep.on_variables or rep.rows.columns is None:
        return decoder_loadings(adata, rep, stored.weights)
    loadings = np.zeros((adata.n_vars, stored.weights.n_features), dtype=np.float32)
    loadings[rep.rows.columns] = stored.weights.W_dec.T
    return loadings
