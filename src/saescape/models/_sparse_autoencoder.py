from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from saescape._docs import doc_params
from saescape._random import as_generator, rng_param
from saescape._store import StoredSae
from saescape._store_files import load_file, save_file

from ._input import row_source

if TYPE_CHECKING:
    from os import PathLike
    from typing import Self

    import pandas as pd

    from saescape._typing import Architecture, FloatArray, Rng, Standardize
    from saescape.sae._online import Session
    from saescape.sae._weights import SaeWeights

_SETTINGS = (
    "n_features",
    "architecture",
    "k",
    "l0_target",
    "l1_coef",
    "standardize",
    "max_epochs",
    "batch_size",
    "lr",
    "early_stopping",
)


@doc_params
class SparseAutoencoder(TransformerMixin, BaseEstimator):
    """Sparse autoencoder on arrays, as a scikit-learn estimator.

    Learns a dictionary of unit directions such that each row is a sparse non-negative combination of a few of them:
    ``z = select(relu((x - b_dec) @ W_enc + b_enc))``, ``x_hat = z @ W_dec + b_dec``. Standardisation is folded into
    the weights, so that they act on raw rows, and codes have the units of the input. A row's code does not depend on
    the rows it is given with.

    Parameters
    ----------
    n_features
        Size of the dictionary (not the number of input columns, which scikit-learn calls `n_features_in_`). None takes
        the smallest power of two of at least eight times the columns, at most a tenth of the rows or what
        :func:`saescape.tl.sae_fit` says, at least 16.
    architecture
        `"topk"`: exactly `k` features per row; `"batchtopk"`: `k` features per row on average, more for complex rows;
        `"matryoshka"`, `"jumprelu"`, `"gated"`, `"relu"`: see :func:`saescape.tl.sae_fit`.
    k
        Number of active features per row. None has a pilot run look for it, see :func:`saescape.tl.sae_fit`.
    l0_target
        Another name of `k`: the penalty of `"gated"`, `"jumprelu"` and `"relu"` is tuned so that this many features are
        active per row.
    l1_coef
        Fixed weight of that penalty instead. Not together with `k` or `l0_target`.
    standardize
        `"center"`: subtract the mean and divide by one scale for all columns; `"zscore"`: divide each column by its
        standard deviation; `"none"`: take the input as it is (its mean still is where `b_dec` starts).
    max_epochs
        Passes over the training rows. None takes at least 1,000 steps and two passes, and half a million rows unless
        these are more than 200 passes. For :meth:`partial_fit` None is one pass.
    batch_size
        Rows per step. None takes 256 below 10,000 rows, and 512 to 2,048 above such that about 1,000
        steps are taken.
    lr
        Peak learning rate of Adam. None takes ``5e-3 sqrt(batch_size / 512) sqrt(1024 / n_features)``, at most 1e-2.
    early_stopping
        End training when neither the error of training nor that of held-out rows gets smaller.
    {rng}
    {device}
    {show_progress_bar}

    Attributes
    ----------
    W_enc_ : numpy.ndarray
        Encoder, `(n_features_in_, n_features)`.
    W_dec_ : numpy.ndarray
        Decoder, `(n_features, n_features_in_)`; rows of unit length with `standardize="center"` and `"none"`.
    b_enc_, b_dec_ : numpy.ndarray
        Biases, `(n_features,)` and `(n_features_in_,)`.
    threshold_ : numpy.ndarray or None
        Activation threshold of each feature (`"batchtopk"`, `"matryoshka"` and `"jumprelu"`).
    history_ : pandas.DataFrame
        `step`, `loss`, `fvu`, `l0`, `n_dead`, `lr`, `fvu_held_out` of the training.
    features_ : pandas.DataFrame
        `frac_active`, `mean_active`, `max_activation`, `dead` of each feature over the rows given.
    metrics_ : dict
        `fvu` (fraction of variance unexplained of the tenth of the rows that was held out), `fvu_train`, `l0`,
        `l0_share_alive`, `n_dead`, `n_features`, `n_train`, `n_held_out`, `n_steps`.
    n_features_in_ : int
        Number of input columns.

    Notes
    -----
    TopK and the auxiliary loss for dead features: Gao et al. (arXiv 2406.04093), section 2.3 and appendix A.2.
    BatchTopK: Bussmann et al. (arXiv 2412.06410), with a threshold that one pass over all training rows calibrates.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> rng = np.random.default_rng(0)
    >>> codes = rng.exponential(size=(1000, 24)) * (rng.random((1000, 24)) < 0.1)
    >>> x = codes @ rng.normal(size=(24, 12))
    >>> model = sae.models.SparseAutoencoder(n_features=48, k=3, max_epochs=50).fit(x)
    >>> model.transform(x).shape
    (1000, 48)
    >>> bool(model.metrics_["fvu"] < 0.2)
    True
    """

    def __init__(
        self,
        n_features: int | None = None,
        *,
        architecture: Architecture = "topk",
        k: int | None = None,
        l0_target: int | None = None,
        l1_coef: float | None = None,
        standardize: Standardize = "center",
        max_epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        early_stopping: bool = True,
        rng: Rng = 0,
        device: str | None = None,
        show_progress_bar: bool = False,
    ) -> None:
        self.n_features = n_features
        self.architecture = architecture
        self.k = k
        self.l0_target = l0_target
        self.l1_coef = l1_coef
        self.standardize = standardize
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.early_stopping = early_stopping
        self.rng = rng
        self.device = device
        self.show_progress_bar = show_progress_bar

    def fit(self, X: Any, y: None = None) -> Self:
        """Learn the dictionary.

        Parameters
        ----------
        X
            Rows `(n_samples, n_features_in_)`: array, sparse matrix, DataFrame; dask, h5py or backed arrays larger than
            512 MiB are read by blocks.
        y
            Ignored.

        Returns
        -------
        The estimator.
        """
        from saescape._device import resolve_device
        from saescape.sae._data import hold_out_observations
        from saescape.sae._defaults import PENALISED, check_settings, effective_dims, make_plan
        from saescape.sae._fit import fit_rows
        from saescape.sae._report import warn_about

        settings = self._settings()
        check_settings(**settings)
        device = resolve_device(self.device)
        rows = row_source(self, X, reset=True)
        # also the check for finite values
        moments = rows.moments()
        make_plan(rows.n_rows, rows.n_dims, **settings)
        rng = as_generator(self.rng)
        held_out = hold_out_observations(rows.n_obs, 1, rows.n_dims, rng)
        n_train, effective = int((~held_out).sum()), effective_dims(moments[1], self.standardize)
        plan = make_plan(rows.n_rows, rows.n_dims, n_train=n_train, effective=effective, **settings)
        fit = fit_rows(rows, plan, moments, held_out, rng=rng, device=device, show_progress_bar=self.show_progress_bar)
        self._set_weights(fit.weights)
        self.history_, self.metrics_, self.features_ = fit.history, fit.metrics, fit.features
        self._session: Session | None = None
        self._stored_params: dict[str, Any] = {}
        self._input_names: np.ndarray | None = None
        warn_about(fit.metrics, fit.plan, penalised=plan.architecture in PENALISED)
        return self

    def partial_fit(self, X: Any, y: None = None) -> Self:
        """Continue the training on more rows (or start it).

        The first call sets the size of the dictionary and the scale from its rows, so give `n_features` when it is
        small. After :meth:`fit` or :meth:`load` training continues from the learned weights. The learning rate stays
        at its peak, there is no hold-out and no pilot run, and `metrics_` are those of the rows given last.

        Parameters
        ----------
        X
            Rows, at least ten at the first call.
        y
            Ignored.

        Returns
        -------
        The estimator.
        """
        from saescape._device import resolve_device
        from saescape.sae._defaults import check_settings
        from saescape.sae._online import Session as OnlineSession
        from saescape.sae._rule import CodingRule

        check_settings(**self._settings())
        device = resolve_device(self.device)
        fitted = hasattr(self, "W_enc_")
        rows = row_source(self, X, reset=not fitted, min_rows=1 if fitted else None)
        moments = rows.moments()
        session = getattr(self, "_session", None)
        if session is None:
            weights = self._weights() if fitted else None
            session = OnlineSession.start(rows, moments, weights, as_generator(self.rng), device, self._settings())
        result = session.update(rows, 1 if self.max_epochs is None else int(self.max_epochs), device)
        if not fitted:
            self._stored_params, self._input_names = {}, None
        # a penalty of sparse inference was tuned for the dictionary as it was
        self._stored_params = {k: v for k, v in self._stored_params.items() if k not in CodingRule().params()}
        self._session = session
        self._set_weights(result.weights)
        self.history_, self.metrics_, self.features_ = result.history, result.metrics, result.features
        return self

    def transform(self, X: Any) -> sparse.csr_matrix:
        """Encode rows.

        Parameters
        ----------
        X
            Rows `(n_samples, n_features_in_)`.

        Returns
        -------
        Codes `(n_samples, n_features)`, non-negative, float32.
        """
        from saescape._device import resolve_device
        from saescape.sae._encode import encode_rows
        from saescape.sae._rule import CodingRule

        check_is_fitted(self)
        rows = row_source(self, X, reset=False, min_rows=1)
        # the check for finite values
        rows.moments()
        weights, device = self._weights(), resolve_device(self.device)
        # a model of `tl.sae_fit` may come with sparse inference
        inference = CodingRule.from_params(self._stored_params).for_weights(weights, device)
        return encode_rows(rows, weights, device, inference=inference).codes

    def inverse_transform(self, X: Any) -> FloatArray:
        """Reconstruct rows from codes.

        Parameters
        ----------
        X
            Codes `(n_samples, n_features)`, sparse or dense.

        Returns
        -------
        Rows `(n_samples, n_features_in_)`, float32.
        """
        check_is_fitted(self)
        codes = sparse.csr_matrix(X) if sparse.issparse(X) else np.asarray(X, dtype=np.float32)
        weights = self._weights()
        if codes.ndim != 2 or codes.shape[1] != weights.n_features:
            msg = f"`X` must hold codes of {weights.n_features} features, found shape {codes.shape}."
            raise ValueError(msg)
        return weights.decode(codes)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the features: `sae_0`, `sae_1`, ...

        Parameters
        ----------
        input_features
            Ignored.

        Returns
        -------
        Names as an array of str objects.
        """
        check_is_fitted(self)
        return np.array([f"sae_{i}" for i in range(self.W_enc_.shape[1])], dtype=object)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to one safetensors file, or to a folder that SAELens can load.

        The tensors are `W_enc`, `W_dec`, `b_enc`, `b_dec` and those of the architecture (`threshold`, `r_mag`,
        `b_mag`), shaped as in SAELens; settings, history and metrics are JSON in the metadata of the tensor file.
        What was at `path` is replaced once the new file is complete.

        Parameters
        ----------
        path
            File to write, when it ends in `.safetensors`; else a folder (created in an existing one) in SAELens'
            layout: `cfg.json` and `sae_weights.safetensors`, which ``sae_lens.SAE.load_from_disk`` reads and which
            give the same codes there (`"batchtopk"` and `"matryoshka"` as `"jumprelu"`, `"relu"` as `"standard"`).

        Raises
        ------
        FileExistsError
            When `path` has to be a folder and is a file.
        """
        check_is_fitted(self)
        save_file(path, self._to_stored())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a model that :meth:`save` or SAELens wrote. Nothing in the files is executed.

        Parameters
        ----------
        path
            A file, or a folder in SAELens' layout. From SAELens itself the architectures `"topk"`, `"standard"`,
            `"jumprelu"`, `"gated"` and training checkpoints of `"batchtopk"` and `"matryoshka_batchtopk"` are read,
            with `normalize_activations` `"none"`; such a model has no metrics and no history.

        Returns
        -------
        The fitted estimator.

        Raises
        ------
        FileNotFoundError
            When `path`, or a file that the folder should hold, does not exist.
        ValueError
            For damaged files, files of a later version, and models that cannot be expressed here.
        """
        return cls._from_stored(load_file(path))

    @classmethod
    def _from_stored(cls, stored: StoredSae) -> Self:
        params, weights = stored.params, stored.weights
        model = cls(
            weights.n_features,
            architecture=weights.architecture,  # type: ignore[arg-type]
            k=weights.k if params.get("l1_coef") is None else None,
            l1_coef=params.get("l1_coef"),
            standardize=params.get("standardize", "center"),
            max_epochs=params.get("max_epochs"),
            batch_size=params.get("batch_size"),
            lr=params.get("lr"),
            early_stopping=bool(params.get("early_stopping", True)),
            rng=params["rng"] if isinstance(params.get("rng"), int) else 0,
        )
        model._set_weights(weights)
        model.n_features_in_ = weights.n_dims
        model.metrics_ = dict(stored.metrics)
        for name in ("history", "features"):
            table: pd.DataFrame | None = getattr(stored, name)
            if table is not None:
                setattr(model, f"{name}_", table.copy())
        model._session = None
        model._stored_params = dict(params)
        model._input_names = stored.input_names.copy()
        return model

    def _to_stored(self) -> StoredSae:
        weights = self._weights()
        names = self._input_names
        if names is None:
            names = getattr(self, "feature_names_in_", np.array([f"dim_{i}" for i in range(weights.n_dims)]))
        settings = self._settings() | {
            "n_features": weights.n_features,
            "k": weights.k,
            "architecture": weights.architecture,
        }
        params = self._stored_params | settings | {"rng": rng_param(self.rng)}
        tables = {name: getattr(self, f"{name}_", None) for name in ("history", "features")}
        return StoredSae(weights, params, np.asarray(names, dtype=str), self.metrics_, **tables)

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SETTINGS}

    def _weights(self) -> SaeWeights:
        return self._fitted_weights

    def _set_weights(self, weights: SaeWeights) -> None:
        self.W_enc_, self.W_dec_ = weights.W_enc, weights.W_dec
        self.b_enc_, self.b_dec_ = weights.b_enc, weights.b_dec
        self.threshold_ = weights.threshold
        self._fitted_weights = weights

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
