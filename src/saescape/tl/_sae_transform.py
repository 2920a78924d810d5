from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._keys import sae_keys
from saescape._logging import logg
from saescape._rep import Representation, get_representation
from saescape._rows import RowSource
from saescape._store import StoredSae, decoder_loadings, from_uns, load_file, write_slots
from saescape._validate import check_adata, check_copy
from saescape.models import SparseAutoencoder

if TYPE_CHECKING:
    from saescape._typing import FloatArray


@doc_params
def sae_transform(
    adata: AnnData,
    model: AnnData | SparseAutoencoder | str | PathLike[str],
    *,
    key: str | None = None,
    use_rep: str | None = None,
    layer: str | None = None,
    device: str | None = None,
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
    {device}
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
        `n_dead`, `n_features`, `n_obs`) describe the new data, `history` the fit.
    `adata.varm['sae_decoder' | key_added]` : :class:`numpy.ndarray` (dtype `float32`)
        Feature directions in units of the variables, where they can be expressed so.

    Raises
    ------
    KeyError
        When the representation, or a fitted model in the AnnData `model`, does not exist.
    ValueError
        When the dimensions of the data are not those of the model, by number or by name, and for non-finite data.
        Variables in another order, and additional ones, are no error for a model that was fitted on variables.

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
    stored = _read_model(model, key)
    if use_rep is None and layer is None:
        use_rep, layer = stored.params.get("use_rep"), stored.params.get("layer")
    rep = _matching_representation(get_representation(adata, use_rep, layer), adata, stored)
    key_added = key if key_added is None else key_added
    if key_added is not None and key_added == use_rep:
        msg = f"`key_added={key_added!r}` would overwrite the representation that is encoded; choose another name."
        raise ValueError(msg)
    torch_device = resolve_device(device)
    # also the check for finite values
    _, variance = rep.rows.moments()
    scale = None
    if stored.params.get("standardize") == "zscore":
        scale = np.where(variance > 0, np.sqrt(variance), 1.0)

    from saescape.sae._encode import encode_rows
    from saescape.sae._fit import code_metrics, feature_table

    adata = adata.copy() if copy else adata
    start = logg.info(f"encoding {rep.rows.where}")
    encoded = encode_rows(rep.rows, stored.weights, torch_device, scale=scale)
    metrics = {"fvu": encoded.fvu(), **code_metrics(encoded), "n_obs": float(rep.rows.n_obs)}
    params = stored.params | {"use_rep": use_rep, "layer": layer}
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
